"""Detections at the task's edges: rows in the pixels of each picture, and `supervision.Detections` for the user."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dinotune.boxes import clip_boxes, scale_boxes
from dinotune.data.batches import Batch
from dinotune.data.records import ImageRecord, LabelSet
from dinotune.tasks.detected_boxes import DetectedBoxes
from dinotune.types import Detections

if TYPE_CHECKING:
    import supervision as sv

DEFAULT_THRESHOLD = 0.5
"""Score that counts where no evaluation has found a class's best one."""
MOST_NAMED = 10
"""With more classes, only the range of their thresholds is said."""


def in_picture_pixels(detections: Detections, batch: Batch) -> DetectedBoxes:
    """Filled slots of a batch, stretched back to each picture's own size and clipped to it."""
    network_hw = (batch.images.shape[-2], batch.images.shape[-1])
    # Whole batches leave the device: each picture by itself would wait for it several times.
    all_boxes, all_scores = (values.detach().float().cpu() for values in (detections.boxes, detections.scores))
    all_labels = detections.labels.cpu().numpy()
    parts = []
    for index, (image_id, picture_hw) in enumerate(zip(batch.image_ids, batch.picture_hw, strict=True)):
        filled = all_labels[index] >= 0
        boxes = clip_boxes(scale_boxes(all_boxes[index], network_hw, picture_hw), picture_hw)
        parts.append(
            DetectedBoxes(
                image_ids=np.full(int(filled.sum()), image_id, np.int64),
                boxes=boxes.double().numpy()[filled],
                scores=all_scores[index].double().numpy()[filled],
                labels=all_labels[index][filled],
            )
        )
    return DetectedBoxes.concatenate(parts)


def used_thresholds(
    labels: LabelSet, stored: Mapping[str, float | None], threshold: float | None = None
) -> dict[str, float]:
    """Lowest score that counts, per class name: one for all, or else the stored ones, or else `DEFAULT_THRESHOLD`."""
    if threshold is not None:
        return dict.fromkeys(labels.names, threshold)
    limits = {name: stored.get(name) for name in labels.names}
    return {name: DEFAULT_THRESHOLD if limit is None else limit for name, limit in limits.items()}


def above_thresholds(detected: DetectedBoxes, labels: LabelSet, thresholds: Mapping[str, float]) -> DetectedBoxes:
    """Rows whose score reaches the threshold of their class (by name)."""
    limits = np.array([thresholds[name] for name in labels.names])
    return detected.select(detected.scores >= limits[detected.labels])


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


def detection_entries(detections: "sv.Detections") -> list[dict[str, Any]]:
    """Detections of a picture for a JSON file: class, score and `box_xyxy` in pixels of the picture."""
    assert detections.confidence is not None
    columns = (detections.data["class_name"], detections.confidence, detections.xyxy)
    return [
        {"class": str(name), "score": round(float(score), 4), "box_xyxy": [round(float(side), 2) for side in box]}
        for name, score, box in zip(*columns, strict=True)
    ]


def describe_thresholds(labels: LabelSet, stored: Mapping[str, float | None], threshold: float | None = None) -> str:
    """Which scores count, in a line."""
    if threshold is not None:
        return f"threshold {threshold:g} for all classes"
    used = used_thresholds(labels, stored)
    known = {name: limit for name, limit in used.items() if stored.get(name) is not None}
    if len(used) > MOST_NAMED and known:
        spread = f"{min(known.values()):.2f} to {max(known.values()):.2f} for {len(known)} of {len(used)} classes"
        return f"thresholds of the model: {spread}, otherwise {DEFAULT_THRESHOLD}"
    if not known:
        return f"threshold {DEFAULT_THRESHOLD} for all classes: the model has no best ones"
    parts = [f"{name} {limit:.2f}{'' if name in known else ' (default)'}" for name, limit in used.items()]
    return f"thresholds of the model: {', '.join(parts)}"
