"""From class scores and boxes per proposal to K detection slots of fixed size."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torchvision.ops import batched_nms

from dinotune import config
from dinotune.boxes import clip_boxes
from dinotune.types import Detections

CANDIDATES_PER_SLOT = 10
"""Boxes per slot that enter non-maximum suppression; torchvision lets all in."""


def fill_slots(
    scores: Sequence[Float[Tensor, "_proposals classes"]],
    boxes: Sequence[Float[Tensor, "_proposals classes 4"]],
    image_hw: tuple[int, int],
    settings: config.FasterRcnn,
) -> Detections:
    """Detections of a batch from the foreground class probabilities and boxes of each image's proposals."""
    slots = [
        _fill_image(image_scores, clip_boxes(image_boxes, image_hw), settings)
        for image_scores, image_boxes in zip(scores, boxes, strict=True)
    ]
    image_boxes, image_scores, image_labels = zip(*slots, strict=True)
    return Detections(torch.stack(image_boxes), torch.stack(image_scores), torch.stack(image_labels))


def _fill_image(
    scores: Float[Tensor, "proposals classes"], boxes: Float[Tensor, "proposals classes 4"], settings: config.FasterRcnn
) -> tuple[Tensor, Tensor, Tensor]:
    labels = torch.arange(scores.shape[1], device=scores.device).expand_as(scores).reshape(-1)
    boxes, scores = boxes.reshape(-1, 4), scores.reshape(-1)
    sides = boxes[:, 2:] - boxes[:, :2]
    usable = (scores > settings.score_threshold) & (sides >= 0.01).all(dim=1)
    scores = torch.where(usable, scores, 0)
    scores, order = scores.topk(min(len(scores), CANDIDATES_PER_SLOT * settings.slots))
    boxes, labels = boxes[order], labels[order]
    kept = torch.zeros_like(scores, dtype=torch.bool)
    kept[batched_nms(boxes, scores, labels, settings.nms_threshold)] = True
    scores, order = torch.where(kept, scores, 0).topk(min(len(scores), settings.slots))
    boxes, labels = boxes[order], labels[order]
    empty = scores == 0
    boxes, labels = boxes.masked_fill(empty[:, None], 0), labels.masked_fill(empty, -1)
    missing = settings.slots - len(scores)
    return F.pad(boxes, (0, 0, 0, missing)), F.pad(scores, (0, missing)), F.pad(labels, (0, missing), value=-1)
