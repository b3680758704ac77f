"""Each usual mistake is made to the truth itself, and must be found and named with the AP without it."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from dinotune.data.records import LabelSet, Records
from dinotune.tasks.detection.coco_metrics import average_precision
from dinotune.tasks.detection.detected_boxes import DetectedBoxes
from dinotune.tasks.detection.diagnosis import explain_zero
from tests.tasks.detection.boxes_by_hand import LABELS, image, oracle, random_records


def pictures_of_many_sizes() -> Records:
    """Objects of one class per place, away from the origin and off the diagonal, so that mistakes show."""
    records = random_records(np.random.default_rng(2), images=25, crowd_share=0)
    sizes = np.array([(480, 640), (640, 480), (500, 750), (600, 600)])[np.arange(25) % 4]
    scale = sizes / (480, 640)
    rows = np.repeat(np.arange(25), np.diff(records.offsets))
    boxes = (records.boxes + np.array([60, 20, 60, 20])) * 0.85 * scale[rows][:, [1, 0, 1, 0]]
    return replace(records, sizes_hw=sizes.astype(np.int64), boxes=boxes)


RECORDS = pictures_of_many_sizes()
TRUTH = oracle(RECORDS)
A, B, C, D = TRUTH.boxes.T
ROWS = np.searchsorted(-RECORDS.image_ids, -TRUTH.image_ids)
WIDTH, HEIGHT = RECORDS.sizes_hw[ROWS, 1], RECORDS.sizes_hw[ROWS, 0]


def with_boxes(*columns: np.ndarray) -> DetectedBoxes:
    return replace(TRUTH, boxes=np.stack(columns, axis=1))


def labels_as(change: Callable[[np.ndarray], np.ndarray]) -> DetectedBoxes:
    return replace(TRUTH, labels=change(TRUTH.labels))


LONGER = np.maximum(WIDTH, HEIGHT) / 320
MISTAKES = {
    "xywh boxes were taken for xyxy": with_boxes(A, B, C - A, D - B),
    "xyxy boxes were taken for xywh": with_boxes(A, B, A + C, B + D),
    "Cxcywh boxes were taken for xyxy": with_boxes((A + C) / 2, (B + D) / 2, C - A, D - B),
    "x and y are swapped": with_boxes(B, A, D, C),
    "normalised (0 to 1) instead of pixels:": with_boxes(A / WIDTH, B / HEIGHT, C / WIDTH, D / HEIGHT),
    "normalised (0 to 1) instead of pixels, and cxcywh": with_boxes(
        (A + C) / 2 / WIDTH, (B + D) / 2 / HEIGHT, (C - A) / WIDTH, (D - B) / HEIGHT
    ),
    "network input of about 224x224": with_boxes(A * 224 / WIDTH, B * 224 / HEIGHT, C * 224 / WIDTH, D * 224 / HEIGHT),
    "longer side of about 320": with_boxes(A / LONGER, B / LONGER, C / LONGER, D / LONGER),
    "multiplied by about 16 across and 16 down": with_boxes(A / 16, B / 16, C / 16, D / 16),
    "one too high": labels_as(lambda labels: labels + 1),
    "one too low": labels_as(lambda labels: labels - 1),
    "original category ids": labels_as(lambda labels: np.array(LABELS.ids)[labels]),
    "positions counted from 0": replace(TRUTH, image_ids=ROWS),
    "positions counted from 1": replace(TRUTH, image_ids=ROWS + 1),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_is_named(mistake: str) -> None:
    explanation = explain_zero(RECORDS, MISTAKES[mistake])
    assert explanation is not None
    assert mistake.lower() in explanation.lower()
    assert "1.000" in explanation


def test_mixed_up_classes_are_told_from_wrong_boxes() -> None:
    labels = np.arange(len(RECORDS.boxes)) % 4
    four = replace(RECORDS, labels=LabelSet(("a", "b", "c", "d"), (1, 2, 3, 4)), box_labels=labels)
    explanation = explain_zero(four, replace(TRUTH, labels=np.array([2, 3, 0, 1])[labels]))
    assert explanation == "Boxes lie on objects but their classes are wrong: with classes ignored AP would be 1.000."


def test_mistake_is_found_among_false_detections() -> None:
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 180, (400, 2))
    noise = DetectedBoxes(
        image_ids=rng.choice(RECORDS.image_ids, 400),
        boxes=np.concatenate([corner, corner + rng.uniform(5, 40, (400, 2))], axis=1),
        scores=rng.uniform(0, 0.6, 400),
        labels=rng.integers(0, 3, 400),
    )
    shaken = MISTAKES["network input of about 224x224"]
    shaken = replace(shaken, boxes=shaken.boxes + rng.normal(0, 0.7, shaken.boxes.shape))
    explanation = explain_zero(RECORDS, DetectedBoxes.concatenate([shaken, noise]))
    assert explanation is not None
    assert "network input of about 22" in explanation


def test_oracle_needs_no_explanation() -> None:
    assert average_precision(RECORDS, TRUTH) == 1.0
    assert explain_zero(RECORDS, TRUTH) is None


def test_no_detections() -> None:
    assert "no detections" in (explain_zero(RECORDS, DetectedBoxes.empty()) or "")


def test_no_objects() -> None:
    empty = Records.from_images("empty", LABELS, [image(1, [], [])])
    assert "empty has no objects" in (explain_zero(empty, TRUTH) or "")


def test_foreign_image_ids_that_no_position_explains() -> None:
    explanation = explain_zero(RECORDS, replace(TRUTH, image_ids=TRUTH.image_ids + 10**6))
    assert explanation is not None
    assert "No detection lies on a picture with objects" in explanation


def test_boxes_that_lie_on_nothing() -> None:
    detected = replace(TRUTH, boxes=np.tile([0.0, 0.0, 3.0, 470.0], (len(TRUTH), 1)))
    explanation = explain_zero(RECORDS, detected)
    assert explanation is not None
    assert "No detected box overlaps an object by half" in explanation


def test_many_pictures_are_sampled() -> None:
    many = random_records(np.random.default_rng(1), images=900, most=2)
    wrong = oracle(many)
    explanation = explain_zero(many, replace(wrong, labels=wrong.labels + 1))
    assert explanation is not None
    assert "one too high" in explanation
