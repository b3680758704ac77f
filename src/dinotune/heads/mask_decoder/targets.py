"""The masks that queries of a picture should find, from a class per pixel or from objects."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from dinotune.config.tasks import IGNORED
from dinotune.types import Targets


@dataclass(frozen=True)
class MaskTargets:
    """Masks of each picture, in pixels of the network input."""

    masks: tuple[Bool[Tensor, "_masks height width"], ...]
    labels: tuple[Int64[Tensor, "_masks"], ...]
    counted: Bool[Tensor, "batch _height _width"]
    """Pixels that say something about masks; a single one where all do."""

    @property
    def counts(self) -> list[int]:
        """Masks of each picture."""
        return [len(labels) for labels in self.labels]


def class_targets(targets: Targets) -> MaskTargets:
    """A mask for each class that a picture shows; `IGNORED` pixels do not count."""
    maps = targets.class_maps
    assert maps is not None, "the data has a class per pixel"
    labels = tuple(torch.bincount(each[each != IGNORED].long()).nonzero()[:, 0] for each in maps)
    masks = tuple(each == shown[:, None, None] for each, shown in zip(maps, labels, strict=True))
    return MaskTargets(masks, labels, maps != IGNORED)


def object_targets(targets: Targets) -> MaskTargets:
    """A mask for each object; all pixels count."""
    assert targets.masks is not None, "the data has a mask per object"
    everything = torch.ones(len(targets), 1, 1, dtype=torch.bool, device=targets.boxes[0].device)
    return MaskTargets(targets.masks, targets.labels, everything)
