"""Detected boxes of a whole split as numpy columns, and their form in COCO results files.

The edges live here: 0-based labels and xyxy inside, original ids and xywh in files.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int64

from dinotune.data.records import LabelSet, Records
from dinotune.errors import DataError

BOX_DECIMALS = 3
SCORE_DECIMALS = 6


@dataclass(frozen=True)
class DetectedBoxes:
    """Detections of many pictures, one row each. Empty slots (label -1) must not come in."""

    image_ids: Int64[np.ndarray, "detections"]
    """Original image ids, as in `Records.image_ids`."""
    boxes: Float[np.ndarray, "detections 4"]
    """Absolute xyxy pixels of the picture."""
    scores: Float[np.ndarray, "detections"]
    """Confidence, higher is surer."""
    labels: Int64[np.ndarray, "detections"]
    """0-based class indices."""
    masks: np.ndarray | None = None
    """Each one's pixels as RLE in JSON text, where the model gives masks."""

    def __post_init__(self) -> None:
        shapes = [np.shape(column) for column in (self.image_ids, self.boxes, self.scores, self.labels)]
        count = len(self.image_ids)
        if shapes != [(count,), (count, 4), (count,), (count,)]:
            raise DataError(
                f"detected boxes: columns of shapes {shapes} do not belong together; use [n], [n, 4], [n], [n]"
            )
        broken = ~(np.isfinite(self.boxes).all(axis=1) & np.isfinite(self.scores))
        if broken.any():
            examples = sorted(set(self.image_ids[broken].tolist()))[:5]
            raise DataError(
                f"{broken.sum()} detected boxes or scores are not finite, in images {examples} (at most 5 named)"
            )

    def __len__(self) -> int:
        return len(self.image_ids)

    def select(self, rows: Bool[np.ndarray, "detections"] | Int64[np.ndarray, "chosen"]) -> "DetectedBoxes":
        """Only these rows, by mask or by index."""
        masks = None if self.masks is None else self.masks[rows]
        return DetectedBoxes(self.image_ids[rows], self.boxes[rows], self.scores[rows], self.labels[rows], masks)

    @classmethod
    def empty(cls) -> "DetectedBoxes":
        """No detections at all."""
        return cls(np.empty(0, np.int64), np.empty((0, 4)), np.empty(0), np.empty(0, np.int64))

    @classmethod
    def concatenate(cls, parts: Sequence["DetectedBoxes"]) -> "DetectedBoxes":
        """The rows of all parts, in order; none gives no detections."""
        masks = [part.masks for part in parts if part.masks is not None]
        parts = [cls.empty(), *parts]
        return cls(
            image_ids=np.concatenate([part.image_ids for part in parts]),
            boxes=np.concatenate([part.boxes for part in parts]),
            scores=np.concatenate([part.scores for part in parts]),
            labels=np.concatenate([part.labels for part in parts]),
            masks=np.concatenate(masks) if masks else None,
        )


def check_labels(detected: DetectedBoxes, labels: LabelSet) -> None:
    """DataError unless every label is the index of a class; -1 would silently mean the last one."""
    outside = detected.labels[(detected.labels < 0) | (detected.labels >= len(labels))]
    if len(outside):
        found = sorted(set(outside.tolist()))[:5]
        raise DataError(
            f"detected labels {found} are not among the {len(labels)} classes 0..{len(labels) - 1}; "
            "drop empty slots (label -1) and count classes from 0, without a background class"
        )


def to_coco_results(detected: DetectedBoxes, labels: LabelSet, *, exact: bool = False) -> list[dict[str, Any]]:
    """COCO results: original ids, xywh pixels rounded to 0.001, scores to 0.000001 unless `exact`."""
    check_labels(detected, labels)
    ids = np.asarray(labels.ids, np.int64)[detected.labels]
    corners = detected.boxes.astype(np.float64)
    xywh = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    scores = detected.scores.astype(np.float64)
    if not exact:
        xywh, scores = xywh.round(BOX_DECIMALS), scores.round(SCORE_DECIMALS)
    columns = (detected.image_ids.tolist(), ids.tolist(), xywh.tolist(), scores.tolist())
    results: list[dict[str, Any]] = [
        {"image_id": image_id, "category_id": category_id, "bbox": box, "score": score}
        for image_id, category_id, box, score in zip(*columns, strict=True)
    ]
    if detected.masks is not None:
        for result, mask in zip(results, detected.masks, strict=True):
            result["segmentation"] = json.loads(mask)
    return results


def from_coco_results(results: Sequence[dict[str, Any]], labels: LabelSet) -> DetectedBoxes:
    """Columns from a COCO results list. An unknown category id is a DataError that names the entry."""
    index_of = {original: index for index, original in enumerate(labels.ids)}
    for position, result in enumerate(results):
        missing = {"image_id", "category_id", "bbox", "score"} - result.keys()
        if missing:
            raise DataError(f"results entry {position}: no {', '.join(sorted(missing))}")
        if result["category_id"] not in index_of:
            raise DataError(
                f"results entry {position}: category_id {result['category_id']} is unknown; "
                f"the data set has {sorted(labels.ids)[:10]}{' ...' if len(labels) > 10 else ''}"
            )
    xywh = np.array([result["bbox"] for result in results], np.float64).reshape(-1, 4)
    return DetectedBoxes(
        image_ids=np.array([result["image_id"] for result in results], np.int64),
        boxes=np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1),
        scores=np.array([result["score"] for result in results], np.float64),
        labels=np.array([index_of[result["category_id"]] for result in results], np.int64),
    )


def to_coco_ground_truth(records: Records) -> dict[str, Any]:
    """The split as a COCO dictionary: original ids, file names, xywh boxes, crowds, areas and the masks there are;
    annotation ids from 1.
    """
    image_rows = np.repeat(np.arange(len(records)), np.diff(records.offsets))
    image_ids = records.image_ids[image_rows].tolist()
    category_ids = np.asarray(records.labels.ids, np.int64)[records.box_labels].tolist()
    xywh = np.concatenate([records.boxes[:, :2], records.boxes[:, 2:] - records.boxes[:, :2]], axis=1).tolist()
    columns = (image_ids, category_ids, xywh, records.areas.tolist(), records.crowd.astype(int).tolist())
    truth: dict[str, Any] = {
        "images": [
            {"id": image_id, "file_name": str(path), "height": height, "width": width}
            for image_id, path, (height, width) in zip(
                records.image_ids.tolist(), records.paths, records.sizes_hw.tolist(), strict=True
            )
        ],
        "categories": [
            {"id": original, "name": name}
            for original, name in zip(records.labels.ids, records.labels.names, strict=True)
        ],
        "annotations": [
            {"id": number, "image_id": image_id, "category_id": category, "bbox": box, "area": area, "iscrowd": crowd}
            for number, (image_id, category, box, area, crowd) in enumerate(zip(*columns, strict=True), start=1)
        ],
    }
    if records.segments is not None:
        texts = records.segments.texts(0, len(records.segments))
        for annotation, text in zip(truth["annotations"], texts, strict=True):
            annotation["segmentation"] = json.loads(text)
    return truth
