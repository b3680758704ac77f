"""What mask queries say after each layer."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class MaskOutputs:
    """Class logits and mask embeddings after each layer, the last layer last.

    The logit of a query's mask in a cell is its embedding times the features of the cell; all layers share those.
    """

    logits: Float[Tensor, "layers batch queries outputs"]
    embeddings: Float[Tensor, "layers batch queries channels"]
    pixels: Float[Tensor, "batch channels rows columns"]
    """Features of each cell of the masks' grid, which lies over the network input."""

    @property
    def grid_hw(self) -> tuple[int, int]:
        """Rows and columns of the masks."""
        return self.pixels.shape[2], self.pixels.shape[3]

    def layers(self, which: Sequence[int]) -> "MaskOutputs":
        """Some of the layers."""
        return MaskOutputs(self.logits[list(which)], self.embeddings[list(which)], self.pixels)

    @property
    def pred_logits(self) -> Float[Tensor, "batch queries outputs"]:
        """Class logits of the last layer."""
        return self.logits[-1]

    @property
    def pred_masks(self) -> Float[Tensor, "batch queries rows columns"]:
        """Mask logits of the last layer in fp32, whatever autocast surrounds them."""
        with torch.autocast(self.pixels.device.type, enabled=False):
            return torch.einsum("bqc,bchw->bqhw", self.embeddings[-1].float(), self.pixels.float())
