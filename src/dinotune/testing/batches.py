"""Random pictures with boxes to try a model on."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int16, Int64
from torch import Tensor

from dinotune.config.tasks import IGNORED
from dinotune.types import Targets


def random_batch(
    objects: Sequence[int], classes: int, image_hw: tuple[int, int], seed: int = 0
) -> tuple[Float[Tensor, "batch 3 height width"], Targets]:
    """A noise picture for each number of objects, every object a box at least a fifth of the shorter side wide.

    The boxes are filled with bright noise, so that there is something to learn.
    """
    generator = torch.Generator().manual_seed(seed)
    height, width = image_hw
    images = torch.rand(len(objects), 3, height, width, generator=generator) / 2
    targets = random_targets(objects, classes, image_hw, generator)
    for image, boxes in zip(images, targets.boxes, strict=True):
        for left, top, right, bottom in boxes.round().int().tolist():
            image[:, top:bottom, left:right] += 0.5
    return images.clamp(max=1), targets


def random_targets(
    objects: Sequence[int], classes: int, image_hw: tuple[int, int], generator: torch.Generator
) -> Targets:
    """Boxes and labels for each picture; a class of the picture as a whole; and each object's pixels, which are those
    of its box. In the class map the last object is on top, class 0 lies behind all,
    and the first row is `IGNORED`.
    """
    sides = torch.tensor([image_hw[1], image_hw[0]])
    boxes, labels = [], []
    for count in objects:
        size = min(image_hw) * (0.2 + 0.4 * torch.rand(count, 2, generator=generator))
        corner = torch.rand(count, 2, generator=generator) * (sides - size)
        boxes.append(torch.cat([corner, corner + size], dim=1))
        labels.append(torch.randint(0, classes, (count,), generator=generator))
    whole = torch.randint(0, classes, (len(boxes),), generator=generator)
    masks = tuple(_filled(of_picture, image_hw) for of_picture in boxes)
    maps = [_painted(*objects) for objects in zip(masks, labels, strict=True)]
    return Targets(tuple(boxes), tuple(labels), whole, torch.stack(maps), masks)


def _filled(boxes: Float[Tensor, "objects 4"], image_hw: tuple[int, int]) -> Bool[Tensor, "objects height width"]:
    """The pixels whose centres lie in each box."""
    left, top, right, bottom = boxes[:, :, None].unbind(1)
    rows, columns = (torch.arange(side) + 0.5 for side in image_hw)
    return ((rows >= top) & (rows <= bottom))[:, :, None] & ((columns >= left) & (columns <= right))[:, None, :]


def _painted(
    masks: Bool[Tensor, "objects height width"], labels: Int64[Tensor, "objects"]
) -> Int16[Tensor, "height width"]:
    painted = torch.zeros(masks.shape[1:], dtype=torch.int16)
    for mask, label in zip(masks, labels.tolist(), strict=True):
        painted[mask] = label
    painted[0] = IGNORED
    return painted
