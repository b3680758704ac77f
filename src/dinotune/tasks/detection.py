"""Detections at the task's edges: rows in the pixels of each picture, and `supervision.Detections` for the user."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

from dinotune.boxes import clip_boxes, scale_boxes
from dinotune.data.batches import Batch
from dinotune.data.records import ImageRecord, LabelSet
from dinotune.errors import DinotuneError
from dinotune.tasks.detected_boxes import DetectedBoxes
from dinotune.types import Detections

if TYPE_CHECKING:
    import supervision as sv

DEFAULT_THRESHOLD = 0.5
"""Score that counts where no evaluation has found a class's best one."""


def in_picture_pixels(detections: Detections, batch: Batch) -> DetectedBoxes:
    """Filled slots of a batch, stretched back to each picture's own size and clipped to it."""
    network_hw = (batch.images.shape[-2], batch.images.shape[-1])
    parts = []
    for index, (image_id, picture_hw) in enumerate(zip(batch.image_ids, batch.picture_hw, strict=True)):
        filled = detections.labels[index] >= 0
        boxes = scale_boxes(detections.boxes[index][filled].float(), network_hw, picture_hw)
        parts.append(
            DetectedBoxes(
                image_ids=np.full(int(filled.sum()), image_id, np.int64),
                boxes=_numpy(clip_boxes(boxes, picture_hw)),
                scores=_numpy(detections.scores[index][filled].float()),
                labels=detections.labels[index][filled].cpu().numpy(),
            )
        )
    return DetectedBoxes.concatenate(parts)


def _numpy(values: torch.Tensor) -> np.ndarray:
    array: np.ndarray = values.detach().cpu().numpy().astype(np.float64)
    return array


def above_thresholds(
    detected: DetectedBoxes, labels: LabelSet, thresholds: Mapping[str, float | None] | float
) -> DetectedBoxes:
    """Rows whose score reaches the threshold of their class (by name), or one threshold for all.

    Raises:
        DinotuneError: a threshold outside [0, 1].
    """
    if isinstance(thresholds, Mapping):
        stored = [thresholds.get(name) for name in labels.names]
        limits = np.array([DEFAULT_THRESHOLD if limit is None else limit for limit in stored])
        return detected.select(detected.scores >= limits[detected.labels])
    if not 0 <= thresholds <= 1:
        raise DinotuneError(f"threshold: {thresholds} is no score; give a number in [0, 1], e.g. 0.4")
    return detected.select(detected.scores >= float(thresholds))


def to_supervision(detected: DetectedBoxes, labels: LabelSet) -> "sv.Detections":
    """Rows of one picture as `supervision.Detections` with class names."""
    import supervision as sv

    names = np.array(labels.names, dtype=object)
    return sv.Detections(
        xyxy=detected.boxes.astype(np.float32),
        confidence=detected.scores.astype(np.float32),
        class_id=detected.labels.astype(int),
        data={"class_name": names[detected.labels]},
    )


def truth_to_supervision(record: ImageRecord, labels: LabelSet) -> "sv.Detections":
    """A picture's objects, without ignore regions, as `supervision.Detections`."""
    objects = ~record.crowd
    count = int(objects.sum())
    rows = DetectedBoxes(
        image_ids=np.full(count, record.image_id, np.int64),
        boxes=record.boxes[objects],
        scores=np.ones(count),
        labels=record.labels[objects],
    )
    return to_supervision(rows, labels)
