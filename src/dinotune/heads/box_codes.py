"""Boxes of queries: one object decides how a layer's numbers move a box and how far apart two boxes are.

Decoding and the L1 distance in loss and matching cannot disagree, since neither stands anywhere else.
"""

import math
from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

SMALLEST = 1e-5
"""Of sides and of distances from the edge, as a share of the network input."""
MOST_GROWTH = math.log(1000 / 16)
"""Natural logarithm of how much one layer can stretch a side."""

Boxes = Float[Tensor, "*boxes 4"]
Paired = Float[Tensor, "*#pairs 4"]


class BoxCode(ABC):
    """What four numbers of a query mean for its box. Boxes are normalised cxcywh; all arithmetic is fp32."""

    @abstractmethod
    def move(self, references: Boxes, steps: Boxes) -> Boxes:
        """Boxes that a layer answers, from the boxes that it began with; steps of 0 leave them where they are."""

    @abstractmethod
    def difference(self, found: Paired, wanted: Paired, references: Paired | None) -> Tensor:
        """What L1 costs and losses sum up, four numbers per pair; leading axes broadcast."""


class LogitBoxes(BoxCode):
    """Steps are added to the logits of centre and sides (Zhu et al. 2021, equation 4); distances are plain."""

    def move(self, references: Boxes, steps: Boxes) -> Boxes:
        return (torch.logit(references.float(), eps=SMALLEST) + steps.float()).sigmoid()

    def difference(self, found: Paired, wanted: Paired, references: Paired | None) -> Tensor:  # noqa: ARG002
        return found - wanted


class RelativeBoxes(BoxCode):
    """Steps and distances count in sides of the reference box (Ren et al. 2015; Lin et al. 2023, Plain-DETR, section 3.3).

    Centres move by shares of its sides, sides by factors. Boxes may reach beyond the network input.
    """

    def move(self, references: Boxes, steps: Boxes) -> Boxes:
        centres, sides = references.float().split(2, dim=-1)
        shift, growth = steps.float().split(2, dim=-1)
        sides = sides.clamp(min=SMALLEST)
        return torch.cat([centres + shift * sides, sides * growth.clamp(max=MOST_GROWTH).exp()], dim=-1)

    def difference(self, found: Paired, wanted: Paired, references: Paired | None) -> Tensor:
        assert references is not None, "distances are relative to the boxes that the layer began with"
        shift = (found[..., :2] - wanted[..., :2]) / references[..., 2:].clamp(min=SMALLEST)
        sides, wanted_sides = (boxes[..., 2:].clamp(min=SMALLEST) for boxes in (found, wanted))
        return torch.cat([shift, sides.log() - wanted_sides.log()], dim=-1)
