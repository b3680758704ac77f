"""Objects with a mask each, from masks of queries (Cheng et al. 2021, MaskFormer, appendix A)."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dinotune import config
from dinotune.heads.mask_decoder.head import MaskHead
from dinotune.heads.mask_decoder.outputs import MaskOutputs
from dinotune.heads.mask_decoder.targets import MaskTargets, object_targets
from dinotune.types import InstanceMasks, Targets


class InstanceMaskDecoderHead(MaskHead):
    """A query answers for one object."""

    def __init__(
        self, settings: config.InstanceMaskDecoder, channels: Sequence[int], strides: Sequence[int], classes: int
    ) -> None:
        super().__init__(settings, channels, strides, classes)
        self.slots = settings.slots

    def mask_targets(self, targets: Targets) -> MaskTargets:
        """The masks of the objects."""
        return object_targets(targets)

    def postprocess(self, outputs: MaskOutputs, image_hw: tuple[int, int]) -> InstanceMasks:
        """The best `slots` pairs of query and class, by the class's probability times the mean one inside the mask."""
        masks = outputs.pred_masks.sigmoid()
        inside = masks > 0.5
        quality = (masks * inside).sum((2, 3)) / inside.sum((2, 3)).clamp(min=1)
        scores = self.class_loss.scores(outputs.pred_logits) * quality[..., None]
        best, index = scores.flatten(1).topk(min(self.slots, scores[0].numel()), dim=1)
        query = index // scores.shape[2]
        rows = torch.arange(len(masks), device=masks.device)[:, None]
        filled = best > 0
        return InstanceMasks(
            boxes=tight_boxes(inside[rows, query], image_hw),
            scores=best,
            labels=torch.where(filled, index % scores.shape[2], -1),
            masks=masks[rows, query] * filled[..., None, None],
        )


def tight_boxes(
    masks: Bool[Tensor, "batch slots rows columns"], image_hw: tuple[int, int]
) -> Float[Tensor, "batch slots 4"]:
    """Xyxy edges, in pixels of the network input, of the cells that belong to each mask; zeros for masks without any."""
    y1, y2 = _ends(masks.any(3), image_hw[0])
    x1, x2 = _ends(masks.any(2), image_hw[1])
    return torch.stack([x1, y1, x2, y2], dim=-1)


def _ends(used: Bool[Tensor, "batch slots cells"], pixels: int) -> tuple[Tensor, Tensor]:
    """Where the first used cell begins and the last one ends along a side of this many pixels."""
    cells = used.shape[2]
    number = torch.arange(cells, device=used.device)
    first = torch.where(used, number, cells).amin(2)
    end = torch.where(used, number + 1, 0).amax(2)
    return torch.minimum(first, end) * (pixels / cells), end * (pixels / cells)
