"""Comparing predictions of any task, and holding them against what `dinotune.types` says of them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dinotune.testing.tools import difference, require
from dinotune.types import ClassScores, Detections, InstanceMasks, Predictions, SemanticMaps

CLOSE = 1e-4
"""Scores of a picture alone and in a batch may differ by so much."""


def joined(parts: Sequence[Predictions]) -> Predictions:
    """Predictions of batches, as if of one."""
    return type(parts[0])(**{name: torch.cat([vars(part)[name] for part in parts]) for name in vars(parts[0])})


def is_same(first: Predictions, second: Predictions) -> bool:
    """Whether two predictions are equal to the last bit."""
    return all(torch.equal(tensor, vars(second)[name]) for name, tensor in vars(first).items())


def what_differs(first: Predictions, second: Predictions) -> str:
    """Where two predictions differ by more than rounding, in words; empty where they agree."""
    if isinstance(first, Detections) and isinstance(second, Detections):
        return difference(first, second)
    assert isinstance(first, ClassScores | SemanticMaps)
    assert isinstance(second, ClassScores | SemanticMaps)
    apart = (first.scores - second.scores).abs().max().item()
    return f"scores differ by {apart:.2g}" if apart > CLOSE else ""


def check_convention(found: Predictions, images: Tensor, classes: int) -> None:
    """AssertionError where predictions are not as `dinotune.types` has them."""
    if isinstance(found, Detections):
        _check_detections(found, images, classes)
    elif isinstance(found, SemanticMaps):
        _check_semantic_maps(found, images, classes)
    else:
        _check_class_scores(found, images, classes)
    if isinstance(found, InstanceMasks):
        _check_masks(found)


def _check_semantic_maps(found: SemanticMaps, images: Tensor, classes: int) -> None:
    shape = tuple(found.scores.shape)
    require(
        len(shape) == 4 and shape[:2] == (len(images), classes),
        f"scores of shape {shape}; give [batch, classes, rows, columns]",
    )
    require(bool(torch.isfinite(found.scores).all()), "scores are not finite")
    wide, high = shape[3] / images.shape[3], shape[2] / images.shape[2]
    require(abs(wide - high) < CLOSE, f"a grid of {shape[2]} x {shape[3]} does not have the shape of the picture")


def _check_masks(found: InstanceMasks) -> None:
    shape, slots = tuple(found.masks.shape), tuple(found.scores.shape)
    require(len(shape) == 4 and shape[:2] == slots, f"masks of shape {shape}; give [batch, slots, rows, columns]")
    require(bool((found.masks >= 0).all() and (found.masks <= 1).all()), "mask probabilities outside [0, 1]")


def _check_class_scores(found: ClassScores, images: Tensor, classes: int) -> None:
    shape = tuple(found.scores.shape)
    require(shape == (len(images), classes), f"scores of shape {shape}; give [batch, classes]")
    require(bool((found.scores >= 0).all()), "scores below 0")
    sums = found.scores.sum(dim=1)
    require(bool(((sums - 1).abs() < CLOSE).all()), f"scores of a picture sum to {sums[0]:.3g}; give shares of 1")


def _check_detections(found: Detections, images: Tensor, classes: int) -> None:
    boxes, scores, labels = found.boxes, found.scores, found.labels
    shape = tuple(scores.shape)
    same = boxes.shape == (*shape, 4) and labels.shape == shape and shape[:1] == (len(images),)
    require(
        same, f"shapes {tuple(boxes.shape)}, {shape}, {tuple(labels.shape)}; give [batch, slots, 4] and [batch, slots]"
    )
    require(labels.dtype == torch.int64, f"labels are {labels.dtype}; give int64")
    require(bool((labels >= -1).all() and (labels < classes).all()), f"labels outside -1..{classes - 1}")
    require(torch.equal(labels == -1, scores == 0), "an empty slot has label -1 and score 0, a filled one neither")
    require(bool((scores >= 0).all() and (scores <= 1).all()), "scores outside [0, 1]")
    require(bool((scores.diff(dim=1) <= 0).all()), "scores are not sorted, best first")
    _check_boxes(boxes[labels >= 0], images.shape[-2], images.shape[-1])


def _check_boxes(boxes: Tensor, height: int, width: int) -> None:
    require(bool(torch.isfinite(boxes).all()), "boxes are not finite")
    require(bool((boxes[:, :2] <= boxes[:, 2:]).all()), "boxes are not xyxy: left > right or top > bottom")
    sides = boxes.new_tensor([width, height, width, height])
    require(
        bool((boxes >= 0).all() and (boxes <= sides).all()), f"boxes leave the picture of {width} x {height} pixels"
    )
    require(len(boxes) == 0 or bool(boxes.max() > 2), "no side lies beyond 2; give boxes in pixels, not in shares")
