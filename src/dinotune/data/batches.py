"""Batch: what a loader hands to training and evaluation. One shape, no padding, 8-bit pictures."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from dinotune.types import Targets


@dataclass(frozen=True)
class Batch:
    """Pictures of one size with their targets; entry i of every tuple belongs to image i."""

    images: UInt8[Tensor, "batch 3 height width"]
    """RGB, 0 to 255."""
    targets: Targets
    """Xyxy boxes in pixels of the network input, without ignore regions."""
    image_ids: tuple[int, ...]
    """Ids as the data set gives them."""
    paths: tuple[str, ...]
    """Picture files."""
    picture_hw: tuple[tuple[int, int], ...]
    """Height and width of each picture as annotated."""
    corrupt: tuple[str, ...]
    """Messages of unreadable pictures, which are left out; a batch may be empty for it."""
    index: int
    """Number of the batch in its epoch."""
    epoch: int
    """Epoch, 0-based."""

    def __len__(self) -> int:
        return len(self.image_ids)

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch with pictures and targets on another device; nothing waits for a GPU."""
        device = torch.device(device)
        at_once = device.type == "cuda"
        return replace(
            self, images=self.images.to(device, non_blocking=at_once), targets=self.targets.to(device, at_once)
        )

    def pin_memory(self) -> "Batch":
        """The same batch in page-locked memory; DataLoader calls it."""
        return replace(self, images=self.images.pin_memory(), targets=self.targets.map(Tensor.pin_memory))

    def __reduce__(self) -> tuple[Callable[..., "Batch"], tuple[Any, ...]]:
        # Each tensor that leaves a worker holds a file descriptor; hundreds of small ones exhaust the usual 1024.
        objects = [
            (boxes.numpy(force=True), labels.numpy(force=True))
            for boxes, labels in zip(self.targets.boxes, self.targets.labels, strict=True)
        ]
        rest = (self.image_ids, self.paths, self.picture_hw, self.corrupt, self.index, self.epoch)
        return _rebuilt, (self.images, objects, self.targets.classes, rest)


def _rebuilt(
    images: Tensor, objects: list[tuple[np.ndarray, np.ndarray]], classes: Tensor | None, rest: tuple[Any, ...]
) -> Batch:
    boxes = tuple(torch.from_numpy(boxes) for boxes, _ in objects)
    labels = tuple(torch.from_numpy(labels) for _, labels in objects)
    return Batch(images, Targets(boxes, labels, classes), *rest)
