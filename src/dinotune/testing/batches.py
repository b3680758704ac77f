"""Random pictures with boxes to try a model on."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

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
    """Boxes and labels for each picture, and a class of the picture as a whole."""
    sides = torch.tensor([image_hw[1], image_hw[0]])
    boxes, labels = [], []
    for count in objects:
        size = min(image_hw) * (0.2 + 0.4 * torch.rand(count, 2, generator=generator))
        corner = torch.rand(count, 2, generator=generator) * (sides - size)
        boxes.append(torch.cat([corner, corner + size], dim=1))
        labels.append(torch.randint(0, classes, (count,), generator=generator))
    return Targets(tuple(boxes), tuple(labels), torch.randint(0, classes, (len(boxes),), generator=generator))
