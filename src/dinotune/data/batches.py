"""Batch: what a loader hands to training and evaluation. One shape, no padding, 8-bit pictures."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from dinotune.data.packed_masks import pack_masks, unpack_masks
from dinotune.types import Cut, Targets


@dataclass(frozen=True)
class Batch:
    """Pictures of one size with their targets; entry i of every tuple belongs to image i."""

    images: UInt8[Tensor, "batch 3 height width"]
    """RGB, 0 to 255; without height and width where `cut` stands for them."""
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
    view: int | None = None
    """Number of the pictures' view, where `augmentation.views` limits them."""
    cut: Cut | None = None
    """What the frozen part of the backbone made of the pictures, where that was computed before."""

    def __len__(self) -> int:
        return len(self.image_ids)

    @property
    def image_hw(self) -> tuple[int, int]:
        """Height and width of the network input in pixels."""
        return (self.images.shape[-2], self.images.shape[-1]) if self.cut is None else self.cut.image_hw

    @property
    def inputs(self) -> Float[Tensor, "batch 3 height width"] | Cut:
        """What a model takes: pictures in [0, 1] in fp32, or their cut."""
        return self.images.float() / 255 if self.cut is None else self.cut.in_fp32()

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch with pictures and targets on another device; nothing waits for a GPU."""
        device = torch.device(device)
        at_once = device.type == "cuda"
        return replace(
            self,
            images=self.images.to(device, non_blocking=at_once),
            targets=self.targets.to(device, at_once),
            cut=None if self.cut is None else self.cut.to(device, at_once),
        )

    def part(self, rows: slice, columns: slice) -> "Batch":
        """Only these rows and columns of the pictures, with the classes of their pixels and no other labels."""
        maps = self.targets.class_maps
        seen = Targets((), (), class_maps=None if maps is None else maps[:, rows, columns])
        return replace(self, images=self.images[:, :, rows, columns], targets=seen)

    def pin_memory(self) -> "Batch":
        """The same batch in page-locked memory; DataLoader calls it."""
        cut = None if self.cut is None else self.cut.map(Tensor.pin_memory)
        return replace(self, images=self.images.pin_memory(), targets=self.targets.map(Tensor.pin_memory), cut=cut)

    def __reduce__(self) -> tuple[Callable[..., "Batch"], tuple[Any, ...]]:
        # Each tensor that leaves a worker holds a file descriptor; hundreds of small ones exhaust the usual 1024.
        objects = [
            (boxes.numpy(force=True), labels.numpy(force=True))
            for boxes, labels in zip(self.targets.boxes, self.targets.labels, strict=True)
        ]
        rest = (self.image_ids, self.paths, self.picture_hw, self.corrupt, self.index, self.epoch, self.view, self.cut)
        packed = None if self.targets.masks is None else [pack_masks(masks).numpy() for masks in self.targets.masks]
        whole = (self.targets.classes, self.targets.class_maps)
        return _rebuilt, (self.images, objects, whole, (packed, self.image_hw), rest)


def _rebuilt(
    images: Tensor,
    objects: list[tuple[np.ndarray, np.ndarray]],
    whole: tuple[Tensor | None, Tensor | None],
    masks: tuple[list[np.ndarray] | None, tuple[int, int]],
    rest: tuple[Any, ...],
) -> Batch:
    boxes = tuple(torch.from_numpy(boxes) for boxes, _ in objects)
    labels = tuple(torch.from_numpy(labels) for _, labels in objects)
    packed, hw = masks
    unpacked = None if packed is None else tuple(unpack_masks(torch.from_numpy(bits), hw) for bits in packed)
    return Batch(images, Targets(boxes, labels, *whole, unpacked), *rest)
