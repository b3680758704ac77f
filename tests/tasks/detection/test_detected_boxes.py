"""Columns of detections and their COCO form: nothing is lost but rounding, nothing wrong comes in."""

import json

import numpy as np
import pytest

from dinotune.errors import DataError
from dinotune.tasks.detection.detected_boxes import (
    DetectedBoxes,
    from_coco_results,
    to_coco_ground_truth,
    to_coco_results,
)
from tests.tasks.detection.boxes_by_hand import LABELS, oracle, random_detections, records_by_hand


def test_results_hold_original_ids_and_xywh() -> None:
    results = to_coco_results(oracle(records_by_hand()), LABELS)
    assert results[0] == {"image_id": 139, "category_id": 17, "bbox": [300.5, 200.25, 20.0, 24.75], "score": 0.9}
    assert {result["category_id"] for result in results} == {17, 18, 4}
    assert all(type(value) is float for result in results for value in [*result["bbox"], result["score"]])


def test_results_come_back_through_json() -> None:
    detected = random_detections(np.random.default_rng(1), records_by_hand())
    back = from_coco_results(json.loads(json.dumps(to_coco_results(detected, LABELS))), LABELS)
    np.testing.assert_array_equal(back.image_ids, detected.image_ids)
    np.testing.assert_array_equal(back.labels, detected.labels)
    np.testing.assert_allclose(back.boxes, detected.boxes, atol=1.01e-3)
    np.testing.assert_allclose(back.scores, detected.scores, atol=5e-7)


def test_exact_results_are_not_rounded() -> None:
    detected = DetectedBoxes(np.array([1]), np.array([[0.0, 0.0, 1 / 3, 1.0]]), np.array([1 / 3]), np.array([0]))
    [result] = to_coco_results(detected, LABELS, exact=True)
    assert result["bbox"][2] == 1 / 3
    assert result["score"] == 1 / 3


def test_ground_truth_holds_crowds_areas_and_pictures_without_objects() -> None:
    truth = to_coco_ground_truth(records_by_hand())
    assert [image["id"] for image in truth["images"]] == [139, 42, 785, 7]
    assert truth["images"][0] == {"id": 139, "file_name": "139.jpg", "height": 480, "width": 640}
    assert truth["categories"][2] == {"id": 4, "name": "kite"}
    assert [annotation["id"] for annotation in truth["annotations"]] == list(range(1, 9))
    assert truth["annotations"][-1] == {
        "id": 8,
        "image_id": 7,
        "category_id": 18,
        "bbox": [0.0, 0.0, 200.0, 90.0],
        "area": 18000.0,
        "iscrowd": 1,
    }


def row(**changed: object) -> dict[str, object]:
    return {"image_id": 1, "category_id": 17, "bbox": [1, 2, 3, 4], "score": 0.5, **changed}


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ([row(), row(category_id=1)], "entry 1: category_id 1 is unknown"),
        ([{"image_id": 1, "category_id": 17}], "entry 0: no bbox, score"),
        ([row(bbox=[1, 2, float("nan"), 4])], "not finite, in images [1]"),
    ],
)
def test_wrong_results_are_named(results: list[dict[str, object]], message: str) -> None:
    with pytest.raises(DataError) as error:
        from_coco_results(results, LABELS)
    assert message in str(error.value)


@pytest.mark.parametrize("label", [-1, 3])
def test_labels_outside_the_classes_are_refused(label: int) -> None:
    detected = DetectedBoxes(np.array([1]), np.array([[0.0, 0.0, 1.0, 1.0]]), np.array([0.5]), np.array([label]))
    with pytest.raises(DataError, match=r"not among the 3 classes 0\.\.2"):
        to_coco_results(detected, LABELS)


def test_columns_must_belong_together() -> None:
    with pytest.raises(DataError, match="do not belong together"):
        DetectedBoxes(np.array([1]), np.zeros((2, 4)), np.zeros(1), np.zeros(1, np.int64))


def test_concatenate_and_select() -> None:
    detected = oracle(records_by_hand())
    parts = [detected.select(np.arange(3)), DetectedBoxes.empty(), detected.select(np.arange(3, len(detected)))]
    joined = DetectedBoxes.concatenate(parts)
    np.testing.assert_array_equal(joined.boxes, detected.boxes)
    assert len(DetectedBoxes.concatenate([])) == 0
    assert set(detected.select(detected.labels == 2).labels.tolist()) == {2}
