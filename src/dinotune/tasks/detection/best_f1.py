"""The score per class at which F1 is best at IoU 0.5: what a user should set as threshold.

Own greedy matching by COCO's rules, since the evaluator's curves are interpolated to 101 recalls.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

from dinotune.data.records import Records
from dinotune.tasks.detection.detected_boxes import DetectedBoxes

IOU = 0.5


@dataclass(frozen=True)
class OperatingPoint:
    """Counts of one class when detections with score >= threshold are kept."""

    objects: int
    """Non-crowd objects of the class."""
    threshold: float | None
    """None where no threshold finds an object; nothing is kept then."""
    kept: int
    """Detections at or over the threshold, without those that lie in crowd regions."""
    found: int
    """Kept detections that match an object."""

    @property
    def precision(self) -> float:
        """Share of the kept detections that match; 0 where nothing is kept."""
        return self.found / self.kept if self.kept else 0.0

    @property
    def recall(self) -> float:
        """Share of the objects that are found; 0 where there are none."""
        return self.found / self.objects if self.objects else 0.0

    @property
    def f1(self) -> float:
        """2 found / (kept + objects), the harmonic mean of precision and recall."""
        return 2 * self.found / (self.kept + self.objects) if self.found else 0.0


def overlaps(
    detected: Float[np.ndarray, "detections 4"],
    objects: Float[np.ndarray, "objects 4"],
    crowd: Bool[np.ndarray, "objects"],
) -> Float64[np.ndarray, "detections objects"]:
    """IoU of xyxy boxes; for crowd regions the share of the detection that lies inside, as COCO has it."""
    left_top = np.maximum(detected[:, None, :2], objects[None, :, :2])
    right_bottom = np.minimum(detected[:, None, 2:], objects[None, :, 2:])
    shared: Float64[np.ndarray, "detections objects"] = (right_bottom - left_top).clip(min=0).prod(axis=2)
    detected_area = (detected[:, 2:] - detected[:, :2]).prod(axis=1)[:, None]
    object_area = (objects[:, 2:] - objects[:, :2]).prod(axis=1)[None, :]
    union = np.where(crowd[None, :], detected_area, detected_area + object_area - shared)
    iou: Float64[np.ndarray, "detections objects"] = np.zeros(shared.shape)
    np.divide(shared, union, out=iou, where=union > 0)
    return iou


def match(
    iou: Float64[np.ndarray, "detections objects"], crowd: Bool[np.ndarray, "objects"]
) -> Int64[np.ndarray, "detections"]:
    """Per detection (best score first) 1 = found an object, 0 = false, -1 = in a crowd region, counts as neither."""
    outcome = np.zeros(len(iou), np.int64)
    closed = crowd.copy()  # crowd regions are matched last, and by any number of detections
    in_crowd = iou[:, crowd].max(axis=1, initial=0.0) >= IOU
    for row in np.flatnonzero(iou.max(axis=1, initial=0.0) >= IOU):
        open_iou = np.where(closed, 0.0, iou[row])
        if open_iou.max() >= IOU:
            closed[open_iou.argmax()] = True
            outcome[row] = 1
        elif in_crowd[row]:
            outcome[row] = -1
    return outcome


def best_f1(records: Records, detected: DetectedBoxes, max_detections: int) -> list[OperatingPoint]:
    """The operating point of each class, in the order of the label set.

    The `max_detections` best detections per picture and class count, as in COCO's AP.
    """
    outcomes = _match_all(records, detected, max_detections)
    objects = np.bincount(records.box_labels[~records.crowd], minlength=len(records.labels))
    points = []
    for label, count in enumerate(objects.tolist()):
        counted = (detected.labels == label) & (outcomes >= 0)
        points.append(_best_point(detected.scores[counted], outcomes[counted], count))
    return points


def _best_point(
    scores: Float[np.ndarray, "detections"], found: Int64[np.ndarray, "detections"], objects: int
) -> OperatingPoint:
    order = np.argsort(-scores, kind="stable")
    scores, total_found = scores[order], np.cumsum(found[order])
    kept = np.arange(1, len(scores) + 1)
    # A threshold keeps all detections of one score, so only the last of equal scores is a candidate.
    last_of_score = np.append(scores[1:] != scores[:-1], True)[: len(scores)]
    f1 = np.where(last_of_score, 2 * total_found / (kept + objects), -1.0)
    if not objects or not len(f1) or f1.max() <= 0:
        return OperatingPoint(objects, None, 0, 0)
    best = int(f1.argmax())
    return OperatingPoint(objects, float(scores[best]), int(kept[best]), int(total_found[best]))


def _match_all(records: Records, detected: DetectedBoxes, limit: int) -> Int64[np.ndarray, "detections"]:
    """Outcome of `match` per detection; -1 also for those past the limit."""
    outcomes = np.full(len(detected), -1, np.int64)
    # Groups of one picture and class, best score first inside.
    order = np.lexsort((-detected.scores, detected.labels, detected.image_ids))
    keys = np.stack([detected.image_ids[order], detected.labels[order]], axis=1)
    starts = np.flatnonzero(np.append(True, (keys[1:] != keys[:-1]).any(axis=1))[: len(order)])
    row_of_image = {image_id: row for row, image_id in enumerate(records.image_ids.tolist())}
    for rows in np.split(order, starts[1:]) if len(order) else []:
        row = row_of_image[int(detected.image_ids[rows[0]])]
        truth = slice(records.offsets[row], records.offsets[row + 1])
        same = records.box_labels[truth] == detected.labels[rows[0]]
        boxes, crowd = records.boxes[truth][same], records.crowd[truth][same]
        outcomes[rows[:limit]] = match(overlaps(detected.boxes[rows[:limit]], boxes, crowd), crowd)
    return outcomes
