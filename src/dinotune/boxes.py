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


def pairwise_iou(first: Float[Tensor, "*#pairs 4"], second: Float[Tensor, "*#pairs 4"]) -> Float[Tensor, "*pairs"]:
    """IoU of xyxy boxes pair by pair, from 0 to 1; leading axes broadcast. Boxes without an area have IoU 0."""
    shared, union = _shared_and_union(first, second)
    return shared / union.clamp(min=torch.finfo(union.dtype).eps)


def generalized_iou(first: Float[Tensor, "*#pairs 4"], second: Float[Tensor, "*#pairs 4"]) -> Float[Tensor, "*pairs"]:
    """Generalised IoU of xyxy boxes pair by pair, from -1 to 1 (Rezatofighi et al. 2019); leading axes broadcast.

    Boxes without an area have a defined value and gradient.
    """
    shared, union = _shared_and_union(first, second)
    hull = _area(torch.minimum(first[..., :2], second[..., :2]), torch.maximum(first[..., 2:], second[..., 2:]))
    smallest = torch.finfo(union.dtype).eps
    return shared / union.clamp(min=smallest) - (hull - union) / hull.clamp(min=smallest)


def _shared_and_union(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    shared = _area(torch.maximum(first[..., :2], second[..., :2]), torch.minimum(first[..., 2:], second[..., 2:]))
    return shared, _area(first[..., :2], first[..., 2:]) + _area(second[..., :2], second[..., 2:]) - shared


def _area(left_top: Tensor, right_bottom: Tensor) -> Tensor:
    return (right_bottom - left_top).clamp(min=0).prod(dim=-1)
