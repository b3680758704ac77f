"""Detections at the task's edges: rows in the pixels of each picture, and `supervision.Detections` for the user."""

from typing import TYPE_CHECKING, Any

import numpy as np

from dinotune.boxes import clip_boxes, scale_boxes
from dinotune.data.batches import Batch
from dinotune.data.records import ImageRecord, LabelSet
from dinotune.tasks.detection.detected_boxes import DetectedBoxes
from dinotune.types import Detections

if TYPE_CHECKING:
    import supervision as sv


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
