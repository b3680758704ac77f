"""The twelve numbers: equal to the published answer and to pycocotools, 1.0 for the truth itself."""

import contextlib
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dinotune.data.records import ImageRecord, LabelSet, Records
from dinotune.errors import DataError
from dinotune.tasks.detection.coco_metrics import COCO_NUMBERS, average_precision, measure
from dinotune.tasks.detection.detected_boxes import (
    DetectedBoxes,
    from_coco_results,
    to_coco_ground_truth,
    to_coco_results,
)
from tests.tasks.detection.boxes_by_hand import image, oracle, random_detections, random_records, records_by_hand

PUBLISHED = [0.505, 0.697, 0.573, 0.586, 0.519, 0.501, 0.387, 0.594, 0.595, 0.640, 0.566, 0.564]
"""`val2014_fake_eval_res.txt` of the COCO API, bbox."""


def fixture_records(folder: Path) -> Records:
    truth = json.loads((folder / "instances_val2014_100.json").read_text())
    categories = truth["categories"]
    labels = LabelSet(tuple(c["name"] for c in categories), tuple(c["id"] for c in categories))
    of_image: dict[int, list[dict[str, object]]] = {entry["id"]: [] for entry in truth["images"]}
    for annotation in truth["annotations"]:
        of_image[annotation["image_id"]].append(annotation)

    def record(entry: dict[str, int], annotations: list[dict[str, object]]) -> ImageRecord:
        xywh = np.array([a["bbox"] for a in annotations], np.float64).reshape(-1, 4)
        return ImageRecord(
            path=Path(str(entry["file_name"])),
            image_id=entry["id"],
            height=entry["height"],
            width=entry["width"],
            boxes=np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1),
            labels=np.array([labels.ids.index(int(str(a["category_id"]))) for a in annotations], np.int64),
            crowd=np.array([a["iscrowd"] == 1 for a in annotations], np.bool_),
            areas=np.array([a["area"] for a in annotations], np.float64),
        )

    return Records.from_images("val2014", labels, [record(e, of_image[e["id"]]) for e in truth["images"]])


def test_published_answer(shared_data: Path) -> None:
    folder = shared_data / "coco_eval"
    records = fixture_records(folder)
    assert records.crowd.sum() == 9
    results = json.loads((folder / "instances_val2014_fakebbox100_results.json").read_text())
    metrics = measure(records, from_coco_results(results, records.labels))
    assert metrics["AP"] == pytest.approx(0.504581, abs=5e-7)
    assert [round(metrics.numbers[name] or 0, 3) for name in COCO_NUMBERS] == PUBLISHED


def pycocotools_numbers(records: Records, detected: DetectedBoxes, limits: tuple[int, int, int]) -> list[float]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        truth = COCO()
        truth.dataset = {"info": {}, **to_coco_ground_truth(records)}
        truth.createIndex()
        evaluator = COCOeval(truth, truth.loadRes(to_coco_results(detected, records.labels, exact=True)), "bbox")
        evaluator.params.maxDets = list(limits)
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return [float(value) for value in evaluator.stats]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_equals_pycocotools(seed: int) -> None:
    rng = np.random.default_rng(seed)
    records = random_records(rng)
    assert records.crowd.any()
    assert (np.diff(records.offsets) == 0).any()
    detected = random_detections(rng, records)
    metrics = measure(records, detected)
    expected = pycocotools_numbers(records, detected, (1, 10, 100))
    assert 0.05 < expected[0] < 0.95
    assert [metrics[name] for name in COCO_NUMBERS] == pytest.approx(expected, abs=1e-12)


def test_more_than_100_detections_stand_beside_the_standard_numbers() -> None:
    grid = [
        [20.0 * column, 20.0 * row, 20.0 * column + 15, 20.0 * row + 15] for column in range(20) for row in range(10)
    ]
    records = Records.from_images("dense", records_by_hand().labels, [image(1, grid, [0] * len(grid))])
    detected = oracle(records)
    metrics = measure(records, detected, max_detections=300)
    [*_, ar100, _, _, _] = pycocotools_numbers(records, detected, (1, 10, 100))
    assert metrics["AR100"] == pytest.approx(ar100, abs=1e-12) == 0.5
    assert metrics["AP"] == pytest.approx(51 / 101)  # precision 1 at the recall points 0, .01, ... .50
    assert metrics["AP@max300"] == 1.0
    assert metrics["AR@max300"] == 1.0
    standard = measure(records, detected)
    assert all(metrics[name] == standard[name] for name in COCO_NUMBERS)
    assert list(standard.numbers) == list(COCO_NUMBERS)


def test_oracle_is_one_in_every_size_class() -> None:
    records = records_by_hand()
    metrics = measure(records, oracle(records))
    recall_limited = {"AR1"}
    assert {name: metrics[name] for name in COCO_NUMBERS if name not in recall_limited} == dict.fromkeys(
        [name for name in COCO_NUMBERS if name not in recall_limited], 1.0
    )
    assert (metrics.images, metrics.objects, metrics.detections) == (4, 7, 7)
    assert all(values["AP"] == 1.0 and values["F1"] == 1.0 for values in metrics.per_class.values())
    assert metrics.notes == ()


def test_oracle_through_the_results_file_is_one() -> None:
    records = random_records(np.random.default_rng(3), images=60)
    detected = from_coco_results(to_coco_results(oracle(records), records.labels), records.labels)
    assert measure(records, detected)["AP"] == 1.0


def test_only_the_selected_pictures_count() -> None:
    records = random_records(np.random.default_rng(4))
    part = records.select(np.array([1, 3, 8, 11]))
    metrics = measure(part, oracle(records))
    assert metrics["AP"] == 1.0
    assert metrics.detections == len(oracle(part))
    assert "outside" in metrics.notes[0]
    assert measure(records, oracle(part))["AR100"] != 1.0


def test_no_detections_give_zero_and_a_note() -> None:
    metrics = measure(records_by_hand(), DetectedBoxes.empty(), max_detections=300)
    assert all(value == 0 for value in metrics.numbers.values())
    assert metrics.thresholds == {"cat": None, "dog": None, "kite": None}
    assert metrics["F1"] == 0
    assert "no detections" in metrics.notes[0]


def test_nothing_to_measure_is_none_not_zero() -> None:
    large = Records.from_images("large", records_by_hand().labels, [image(1, [[0, 0, 300, 300]], [2])])
    metrics = measure(large, oracle(large))
    assert (metrics["APl"], metrics["APs"], metrics["ARm"]) == (1.0, None, None)
    assert metrics.per_class["cat"] == dict.fromkeys(("AP", "AP50", "threshold", "precision", "recall", "F1")) | {
        "objects": 0
    }
    empty = large.select(np.array([0]))
    empty = replace(empty, crowd=np.array([True]))
    metrics = measure(empty, oracle(large))
    assert metrics["AP"] is None
    assert "cannot be measured" in metrics.notes[0]


def test_per_class_numbers_belong_to_their_class() -> None:
    records = records_by_hand()
    kites = oracle(records).select(oracle(records).labels == 2)
    metrics = measure(records, kites)
    assert {name: values["AP"] for name, values in metrics.per_class.items()} == {"cat": 0.0, "dog": 0.0, "kite": 1.0}
    assert metrics["AP"] == pytest.approx(1 / 3)
    assert metrics["recall"] == pytest.approx(2 / 7)


def test_json_is_plain_and_silent(capsys: pytest.CaptureFixture[str]) -> None:
    records = random_records(np.random.default_rng(6))
    metrics = measure(records, random_detections(np.random.default_rng(7), records))
    back = json.loads(json.dumps(metrics.to_json(), allow_nan=False))
    assert list(back)[:12] == list(COCO_NUMBERS)
    assert back["per_class"]["dog"]["threshold"] == metrics.thresholds["dog"]
    assert capsys.readouterr() == ("", "")


def test_average_precision_is_the_same_number() -> None:
    records = random_records(np.random.default_rng(8))
    detected = random_detections(np.random.default_rng(9), records)
    assert average_precision(records, detected) == measure(records, detected)["AP"]


def test_labels_counted_from_one_are_refused() -> None:
    truth = oracle(records_by_hand())
    with pytest.raises(DataError, match="without a background class"):
        measure(records_by_hand(), replace(truth, labels=truth.labels + 1))
