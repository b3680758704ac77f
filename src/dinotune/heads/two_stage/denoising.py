"""Contrastive denoising (Li et al. 2022, DN-DETR; Zhang et al. 2023, DINO, section 3.3).

While training, extra queries begin at objects moved by noise: near ones must find back, far ones must answer "none".
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torchvision.ops import box_convert

from dinotune import config
from dinotune.heads.box_codes import SMALLEST
from dinotune.heads.matching import Matches
from dinotune.heads.padded_targets import PaddedTargets
from dinotune.heads.two_stage.starts import Queries

FIRST_GROUP = 2
"""Groups 0 and 1 are the one-to-one and the one-to-many queries."""


@dataclass(frozen=True)
class NoisedObjects:
    """Queries in groups; each group holds every object of an image near its place, then every object far from it."""

    queries: Queries
    copies: int
    """Groups."""
    present: Bool[Tensor, "batch objects"]
    """On the host."""

    def matches(self, layers: int) -> Matches:
        """The object of every near query, known without a matching."""
        objects = self.present.shape[1]
        image, target = self.present.nonzero(as_tuple=True)
        pairs = torch.cartesian_prod(torch.arange(layers), torch.arange(self.copies), torch.arange(len(image)))
        layer, copy, pair = pairs.unbind(1)
        query = copy * 2 * objects + target[pair]
        columns = torch.stack([layer, image[pair], query, target[pair]]).to(self.queries.content.device)
        return Matches(columns[0], columns[1], columns[2], columns[3], finite=True)


class Denoising(nn.Module):
    """Makes queries of objects. A query's content is what is learned of its class."""

    def __init__(self, settings: config.TwoStageHead, classes: int) -> None:
        super().__init__()
        self.settings = settings
        self.class_content = nn.Parameter(torch.randn(classes, settings.channels))

    def forward(self, targets: PaddedTargets) -> NoisedObjects:
        """As many groups as `denoising_queries` allow, at least one."""
        objects = targets.labels.shape[1]
        copies = max(1, self.settings.denoising_queries // max(1, objects))
        labels = self._noised_labels(targets.labels.repeat(1, 2 * copies))
        far = torch.arange(2 * objects, device=labels.device).repeat(copies) >= objects
        boxes = self._noised_boxes(targets.boxes_cxcywh.repeat(1, 2 * copies, 1), far)
        groups = torch.arange(FIRST_GROUP, FIRST_GROUP + copies, device=labels.device).repeat_interleave(2 * objects)
        return NoisedObjects(Queries(self.class_content[labels], boxes, groups), copies, targets.present)

    def _noised_labels(self, labels: Int64[Tensor, "batch queries"]) -> Int64[Tensor, "batch queries"]:
        drawn = torch.randint_like(labels, len(self.class_content))
        share = self.settings.denoising_label_noise
        return torch.where(torch.rand(labels.shape, device=labels.device) < share, drawn, labels)

    def _noised_boxes(
        self, boxes_cxcywh: Float[Tensor, "batch queries 4"], far: Bool[Tensor, "queries"]
    ) -> Float[Tensor, "batch queries 4"]:
        """Every corner moves by up to half a side, far ones by between a half and a whole, all times the setting."""
        half_sides = boxes_cxcywh[..., 2:].repeat(1, 1, 2) / 2
        sign = torch.randint_like(half_sides, 2) * 2 - 1
        amount = torch.rand_like(half_sides) + far[:, None]
        shift = self.settings.denoising_box_noise * sign * amount * half_sides
        corners = (box_convert(boxes_cxcywh, "cxcywh", "xyxy") + shift).clamp(0, 1)
        # Far corners may pass each other.
        first, second = corners.split(2, dim=-1)
        ordered = torch.cat([torch.minimum(first, second), torch.maximum(first, second)], dim=-1)
        noised: Tensor = box_convert(ordered, "xyxy", "cxcywh")
        return torch.cat([noised[..., :2], noised[..., 2:].clamp(min=SMALLEST)], dim=-1)
