"""Linear segmentation (DINOv3 and DINOv2's evaluation): one layer on each cell of the feature maps."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from dinotune import config
from dinotune.config.tasks import IGNORED
from dinotune.heads.base import ClassRows, Head
from dinotune.types import Features, Losses, SemanticMaps, Targets

STARTING_STD = 0.01
"""Of the weights before training (DINOv3's linear evaluation)."""

GROUPS = 32


class LinearSegmenterHead(Head):
    """Dropout of whole channels, a norm, one layer; maps of other strides are brought to the grid of the first."""

    def __init__(
        self,
        settings: config.LinearSegmenter,
        channels: Sequence[int],
        strides: Sequence[int],  # noqa: ARG002
        classes: int,
    ) -> None:
        super().__init__()
        self.settings = settings
        width = sum(channels)
        self.dropout = nn.Dropout2d(settings.dropout)
        self.norm = _norm(settings, width)
        self.classify = nn.Conv2d(width, classes, 1)
        nn.init.normal_(self.classify.weight, std=STARTING_STD)
        assert self.classify.bias is not None
        nn.init.zeros_(self.classify.bias)

    def forward(self, features: Features) -> Float[Tensor, "batch classes rows columns"]:
        """Logits in fp32, on the grid of the first map."""
        maps = [each.float() for each in features.maps]
        with torch.autocast(maps[0].device.type, enabled=False):
            grid = maps[0].shape[-2:]
            alike = [each if each.shape[-2:] == grid else _resized(each, grid) for each in maps]
            logits: Tensor = self.classify(self.norm(self.dropout(torch.cat(alike, dim=1))))
        return logits

    def loss(self, features: Features, targets: Targets) -> Losses:
        """Mean cross-entropy of the pixels that count; 0 where none does."""
        return self._loss(self(features), targets)

    def predict(self, features: Features) -> SemanticMaps:
        """Logits as scores."""
        return SemanticMaps(self(features))

    def evaluate(self, features: Features, targets: Targets) -> tuple[Losses, SemanticMaps]:
        """Both of one forward pass."""
        logits = self(features)
        return self._loss(logits, targets), SemanticMaps(logits)

    def class_rows(self) -> Mapping[str, ClassRows]:
        """One logit per class."""
        return {"classify.weight": ClassRows(), "classify.bias": ClassRows()}

    def _loss(self, logits: Float[Tensor, "batch classes rows columns"], targets: Targets) -> Losses:
        truth = targets.class_maps
        assert truth is not None, "the data has a class per pixel"
        with torch.autocast(logits.device.type, enabled=False):
            pixels = _resized(logits, truth.shape[-2:])
            total = functional.cross_entropy(
                pixels,
                truth.long(),
                ignore_index=IGNORED,
                label_smoothing=self.settings.label_smoothing,
                reduction="sum",
            )
        return Losses({"loss_pixels": total / (truth != IGNORED).sum().clamp(min=1)})


def _norm(settings: config.LinearSegmenter, width: int) -> nn.Module:
    match settings.norm:
        case "batch":
            return nn.SyncBatchNorm(width)  # on one device, a plain BatchNorm
        case "group":
            return nn.GroupNorm(GROUPS, width)
        case "none":
            return nn.Identity()


def _resized(maps: Float[Tensor, "batch channels _h _w"], hw: Sequence[int]) -> Tensor:
    return functional.interpolate(maps, size=tuple(hw), mode="bilinear", align_corners=False)
