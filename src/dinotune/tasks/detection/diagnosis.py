"""Why AP is 0: try the usual mistakes of detection files on the detections and say which would explain it.

Every COCO evaluator answers 0 in silence to wrong formats, labels, sizes and image ids.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int64

from dinotune.data.records import LabelSet, Records
from dinotune.tasks.detection.best_f1 import overlaps
from dinotune.tasks.detection.box_scale import other_size_hypotheses, picture_sizes, scaled
from dinotune.tasks.detection.coco_metrics import average_precision
from dinotune.tasks.detection.detected_boxes import DetectedBoxes

GOOD = 0.05
"""From this AP on there is nothing to explain."""
WORTH_NAMING = 0.05
"""Chance gives up to .04 on a few pictures."""
MAX_PICTURES = 300
"""A few hundred pictures show a mistake as well as all."""


@dataclass(frozen=True)
class Hypothesis:
    """One possible mistake: what it says, and the detections without it."""

    mistake: str
    corrected: DetectedBoxes


def explain_zero(records: Records, detected: DetectedBoxes) -> str | None:
    """The mistake that would explain an AP of 0, with the AP without it; none where AP is fine or merely low.

    Tried are image ids, box formats, pixels of another size, swapped axes and classes. Labels out of range
    are allowed here.
    """
    if not (~records.crowd).any():
        return f"{records.name} has no objects on these pictures, so AP cannot be measured."
    if not len(detected):
        return "There are no detections at all: every score is under the head's threshold, or nothing was predicted."
    sample = _some_pictures_with_objects(records)
    now = _measured(sample, detected)
    if now >= GOOD:
        return None
    tried = [(_measured(sample, hypothesis.corrected), hypothesis) for hypothesis in _hypotheses(records, detected)]
    best, hypothesis = max(tried, key=lambda pair: pair[0])
    if best >= max(WORTH_NAMING, 10 * now):
        return f"{hypothesis.mistake}: with that mended AP would be {best:.3f} instead of {now:.3f}."
    return None if now >= WORTH_NAMING else _say_best_overlap(sample, detected)


def _some_pictures_with_objects(records: Records) -> Records:
    with_objects = np.flatnonzero(np.diff(records.offsets))
    spread = np.linspace(0, len(with_objects) - 1, min(MAX_PICTURES, len(with_objects))).round().astype(np.int64)
    return records.select(with_objects[spread])


def _measured(records: Records, detected: DetectedBoxes) -> float:
    in_range = (detected.labels >= 0) & (detected.labels < len(records.labels))
    return average_precision(records, detected.select(in_range)) or 0.0


def _hypotheses(records: Records, detected: DetectedBoxes) -> Iterator[Hypothesis]:
    yield from _image_ids(records, detected)
    yield from _box_formats(records, detected)
    yield from _classes(records, detected)
    for mistake, boxes in other_size_hypotheses(records, detected):
        yield Hypothesis(mistake, replace(detected, boxes=boxes))


def _image_ids(records: Records, detected: DetectedBoxes) -> Iterator[Hypothesis]:
    """Positions in the list of pictures instead of ids."""
    examples = f"detections have image ids like {_few(detected.image_ids)}, the data set has {_few(records.image_ids)}"
    for first in (0, 1):
        position = detected.image_ids - first
        inside = (position >= 0) & (position < len(records))
        ids = records.image_ids[np.where(inside, position, 0)]
        yield Hypothesis(
            f"Image ids are positions counted from {first} instead of the data set's own ({examples})",
            replace(detected, image_ids=ids).select(inside),
        )


def _box_formats(records: Records, detected: DetectedBoxes) -> Iterator[Hypothesis]:
    a, b, c, d = detected.boxes.T
    forms = {
        "xywh boxes were taken for xyxy": (a, b, a + c, b + d),
        "xyxy boxes were taken for xywh (written unconverted into a results file)": (a, b, c - a, d - b),
        "cxcywh boxes were taken for xyxy": (a - c / 2, b - d / 2, a + c / 2, b + d / 2),
        "x and y are swapped": (b, a, d, c),
    }
    pixels = {mistake: np.stack(columns, axis=1) for mistake, columns in forms.items()}
    for mistake, boxes in pixels.items():
        yield Hypothesis(_capital(mistake), replace(detected, boxes=boxes))
    if np.quantile(np.abs(detected.boxes), 0.99) > 2:
        return
    for mistake, boxes in {"": detected.boxes, **pixels}.items():
        also = f", and {mistake}" if mistake else ""
        in_pixels = scaled(boxes, picture_sizes(records, detected))
        yield Hypothesis(f"Boxes are normalised (0 to 1) instead of pixels{also}", replace(detected, boxes=in_pixels))


def _classes(records: Records, detected: DetectedBoxes) -> Iterator[Hypothesis]:
    for shift, why in ((-1, "one too high: counted from 1, or with a background class"), (1, "one too low")):
        yield Hypothesis(f"Labels are {why}", replace(detected, labels=detected.labels + shift))
    index_of = {original: index for index, original in enumerate(records.labels.ids)}
    labels = np.array([index_of.get(label, -1) for label in detected.labels.tolist()], np.int64)
    yield Hypothesis("Labels are original category ids instead of indices", replace(detected, labels=labels))


def _say_best_overlap(records: Records, detected: DetectedBoxes) -> str:
    """What is left when no mistake explains it: whether boxes lie on objects at all, whatever the class."""
    one_class = LabelSet(("object",), (1,))
    merged = replace(records, labels=one_class, box_labels=np.zeros_like(records.box_labels))
    agnostic = _measured(merged, replace(detected, labels=np.zeros_like(detected.labels)))
    if agnostic >= WORTH_NAMING:
        return f"Boxes lie on objects but their classes are wrong: with classes ignored AP would be {agnostic:.3f}."
    best = _best_overlap(records, detected)
    if best is None:
        return (
            f"No detection lies on a picture with objects: image ids are like {_few(detected.image_ids)}, "
            f"those of {records.name} like {_few(records.image_ids)}."
        )
    if best < 0.5:
        return (
            f"No detected box overlaps an object by half (best IoU {best:.2f}), and no usual mistake of format, size "
            "or class explains it: the model has not learned to place boxes, or the boxes belong to other pictures."
        )
    return (
        f"Boxes hardly overlap objects (best IoU {best:.2f}), and no usual mistake explains it: the model is untrained."
    )


def _best_overlap(records: Records, detected: DetectedBoxes) -> float | None:
    best: float | None = None
    for index in range(len(records)):
        rows = detected.image_ids == records.image_ids[index]
        if rows.any():
            image = records[index]
            iou = overlaps(detected.boxes[rows], image.boxes, np.zeros(len(image.boxes), np.bool_))
            best = max(best or 0.0, float(iou.max(initial=0.0)))
    return best


def _few(ids: Int64[np.ndarray, "ids"]) -> str:
    return ", ".join(str(image_id) for image_id in np.unique(ids)[:3])


def _capital(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]
