"""Thresholds against a brute-force search over all scores with a matching of its own."""

import numpy as np
import pytest

from dinotune.data.records import ImageRecord, Records
from dinotune.tasks.detection.best_f1 import best_f1, overlaps
from dinotune.tasks.detection.detected_boxes import DetectedBoxes
from tests.tasks.detection.boxes_by_hand import image, oracle, random_detections, random_records, records_by_hand

Box = list[float]


def shared_area(a: Box, b: Box) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def area(a: Box) -> float:
    return (a[2] - a[0]) * (a[3] - a[1])


def count_one(record: ImageRecord, detected: DetectedBoxes, label: int, threshold: float) -> tuple[int, int]:
    """Kept and found detections of one picture and class, by loops over plain lists."""
    truth = [
        (b, c) for b, c, known in zip(record.boxes.tolist(), record.crowd, record.labels, strict=True) if known == label
    ]
    rows = [
        (score, box)
        for score, box, known, image_id in zip(
            detected.scores, detected.boxes.tolist(), detected.labels, detected.image_ids, strict=True
        )
        if known == label and image_id == record.image_id and score >= threshold
    ]
    taken: set[int] = set()
    kept = found = 0
    for _, box in sorted(rows, key=lambda row: -row[0]):
        ious = [
            (shared_area(box, b) / (area(box) + area(b) - shared_area(box, b)), i)
            for i, (b, crowd) in enumerate(truth)
            if not crowd and i not in taken
        ]
        if ious and max(ious)[0] >= 0.5:
            taken.add(max(ious)[1])
            kept, found = kept + 1, found + 1
        elif not any(crowd and shared_area(box, b) / area(box) >= 0.5 for b, crowd in truth):
            kept += 1
    return kept, found


def brute_force(records: Records, detected: DetectedBoxes, label: int) -> tuple[float, float, int, int]:
    """Best F1, its highest threshold, kept and found."""
    objects = int(((records.box_labels == label) & ~records.crowd).sum())
    best = (-1.0, 0.0, 0, 0)
    for threshold in sorted(set(detected.scores.tolist()), reverse=True):
        counts = [count_one(records[i], detected, label, threshold) for i in range(len(records))]
        kept, found = sum(k for k, _ in counts), sum(f for _, f in counts)
        f1 = 2 * found / (kept + objects)
        if f1 > best[0]:
            best = (f1, threshold, kept, found)
    return best


@pytest.mark.parametrize("seed", [0, 1])
def test_equals_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    records = random_records(rng, images=12, crowd_share=0.2)
    detected = random_detections(rng, records, false=30)
    for label, point in enumerate(best_f1(records, detected, 100)):
        f1, threshold, kept, found = brute_force(records, detected, label)
        assert 0 < f1 < 1
        assert point.f1 == pytest.approx(f1)
        assert (point.threshold, point.kept, point.found) == (threshold, kept, found)


def test_threshold_keeps_all_of_a_tie() -> None:
    records = Records.from_images(
        "one", records_by_hand().labels, [image(1, [[0, 0, 10, 10], [50, 50, 90, 90]], [0, 0])]
    )
    detected = DetectedBoxes(
        np.array([1, 1, 1]),
        np.array([[0, 0, 10, 10], [300, 300, 310, 310], [50, 50, 90, 90]], np.float64),
        np.array([0.9, 0.4, 0.4]),
        np.array([0, 0, 0]),
    )
    point = best_f1(records, detected, 100)[0]
    assert (point.threshold, point.kept, point.found) == (0.4, 3, 2)
    assert (point.precision, point.recall, point.f1) == (2 / 3, 1.0, 0.8)


def test_second_detection_of_an_object_is_false() -> None:
    truth = oracle(records_by_hand())
    twice = DetectedBoxes.concatenate([truth, truth])
    for point in best_f1(records_by_hand(), twice, 100):
        assert point.found == point.objects
        assert point.kept > point.found


def test_detections_past_the_limit_do_not_count() -> None:
    records = records_by_hand()
    cats = best_f1(records, oracle(records), 1)[0]
    assert cats.found == 3
    crowded = Records.from_images("two", records.labels, [image(1, [[0, 0, 9, 9], [50, 50, 90, 90]], [0, 0])])
    assert best_f1(crowded, oracle(crowded), 1)[0].found == 1


def test_no_threshold_finds_an_object() -> None:
    records = records_by_hand()
    elsewhere = oracle(records)
    elsewhere.boxes[:] += 5000
    for point in best_f1(records, elsewhere, 100):
        assert (point.threshold, point.kept, point.precision, point.f1) == (None, 0, 0.0, 0.0)


def test_overlap_with_a_crowd_is_the_share_inside() -> None:
    detected = np.array([[0, 0, 10, 10]], np.float64)
    objects = np.array([[0, 0, 100, 100], [0, 0, 100, 100], [5, 5, 5, 5]], np.float64)
    iou = overlaps(detected, objects, np.array([True, False, False]))
    assert iou.tolist() == [[1.0, 0.01, 0.0]]
