"""Detections at the task's edges: rows in the pixels of each picture, and `supervision.Detections` for the user."""

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool

from dinotune.boxes import clip_boxes, scale_boxes
from dinotune.data.batches import Batch
from dinotune.data.records import ImageRecord, LabelSet
from dinotune.data.rle import decode_mask, encode_mask
from dinotune.tasks.detection.detected_boxes import DetectedBoxes
from dinotune.tasks.detection.masks import masks_and_boxes
from dinotune.types import Detections, InstanceMasks

if TYPE_CHECKING:
    import supervision as sv


def in_picture_pixels(detections: Detections, batch: Batch) -> DetectedBoxes:
    """Filled slots of a batch, stretched back to each picture's own size and clipped to it; boxes of masks lie around them."""
    network_hw = batch.image_hw
    # Whole batches leave the device: each picture by itself would wait for it several times.
    all_boxes, all_scores = (values.detach().float().cpu() for values in (detections.boxes, detections.scores))
    all_labels = detections.labels.cpu().numpy()
    parts = []
    for index, (image_id, picture_hw) in enumerate(zip(batch.image_ids, batch.picture_hw, strict=True)):
        filled = all_labels[index] >= 0
        scaled = clip_boxes(scale_boxes(all_boxes[index], network_hw, picture_hw), picture_hw)
        boxes, masks = scaled.double().numpy()[filled], None
        if isinstance(detections, InstanceMasks):
            of_picture = detections.masks[index][torch.from_numpy(filled).to(detections.masks.device)]
            masks, boxes = masks_and_boxes(of_picture, boxes, picture_hw)
        parts.append(
            DetectedBoxes(
                image_ids=np.full(int(filled.sum()), image_id, np.int64),
                boxes=boxes,
                scores=all_scores[index].double().numpy()[filled],
                labels=all_labels[index][filled],
                masks=masks,
            )
        )
    return DetectedBoxes.concatenate(parts)


def to_supervision(detected: DetectedBoxes, labels: LabelSet, picture_hw: tuple[int, int]) -> "sv.Detections":
    """Rows of one picture as `supervision.Detections` with class names, and with masks where there are."""
    import supervision as sv

    names = np.array(labels.names, dtype=object)
    return sv.Detections(
        xyxy=detected.boxes.astype(np.float32),
        confidence=detected.scores.astype(np.float32),
        class_id=detected.labels.astype(int),
        mask=None if detected.masks is None else _decoded(detected.masks, picture_hw),
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
        masks=None if record.segments is None else np.array(record.segments, object)[objects],
    )
    return to_supervision(rows, labels, (record.height, record.width))


def _decoded(texts: np.ndarray, hw: tuple[int, int]) -> Bool[np.ndarray, "objects height width"]:
    return np.stack([decode_mask(text, hw) for text in texts]) if len(texts) else np.zeros((0, *hw), np.bool_)


def detection_entries(detections: "sv.Detections") -> list[dict[str, Any]]:
    """Detections of a picture for a JSON file: class, score, `box_xyxy` in pixels of the picture, and `mask_rle` (COCO)."""
    assert detections.confidence is not None
    columns = (detections.data["class_name"], detections.confidence, detections.xyxy)
    entries: list[dict[str, Any]] = [
        {"class": str(name), "score": round(float(score), 4), "box_xyxy": [round(float(side), 2) for side in box]}
        for name, score, box in zip(*columns, strict=True)
    ]
    if detections.mask is not None:
        for entry, mask in zip(entries, np.asarray(detections.mask), strict=True):
            entry["mask_rle"] = json.loads(encode_mask(mask))
    return entries
