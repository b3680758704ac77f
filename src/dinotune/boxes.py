"""Pure box functions. Boxes are absolute xyxy pixels unless a name says otherwise."""

import torch
from jaxtyping import Float
from torch import Tensor


def scale_boxes(
    boxes: Float[Tensor, "*batch 4"], from_hw: tuple[int, int], to_hw: tuple[int, int]
) -> Float[Tensor, "*batch 4"]:
    """Boxes of an image of size `from_hw` in the same image stretched to `to_hw`."""
    vertical, horizontal = to_hw[0] / from_hw[0], to_hw[1] / from_hw[1]
    return boxes * boxes.new_tensor([horizontal, vertical, horizontal, vertical])


def clip_boxes(boxes: Float[Tensor, "*batch 4"], image_hw: tuple[int, int]) -> Float[Tensor, "*batch 4"]:
    """Boxes cut off at the edges of an image."""
    height, width = image_hw
    limit = boxes.new_tensor([width, height, width, height])
    return torch.minimum(boxes.clamp(min=0), limit)
