"""The truth, read by us and written as a results file, must score AP 1 in an evaluator of others.

Truth comes from the original files: COCO's as they are, Pascal VOC's turned into COCO by a few lines of its own.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dinotune import config
from dinotune.data.formats import HOLDS, WRITERS
from dinotune.data.records import Records
from dinotune.data.splits import read_records
from tests.data.small_sets import voc_objects


def results(records: Records) -> list[dict[str, Any]]:
    """A COCO results list with original ids: one perfect detection per box."""
    return [
        {
            "image_id": record.image_id,
            "category_id": records.labels.ids[label],
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "score": 0.9,
        }
        for record in (records[i] for i in range(len(records)))
        for (x1, y1, x2, y2), label in zip(record.boxes.tolist(), record.labels, strict=True)
    ]


def average_precision(truth: Path, found: list[dict[str, Any]], tmp_path: Path, most: int) -> float:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    (tmp_path / "predictions.json").write_text(json.dumps(found))
    coco = COCO(truth)
    evaluation = COCOeval(coco, coco.loadRes(str(tmp_path / "predictions.json")), "bbox")
    evaluation.params.maxDets = [1, 10, most]
    evaluation.evaluate()
    evaluation.accumulate()
    precision = evaluation.eval["precision"][..., 0, -1]
    return float(precision[precision > -1].mean())


def voc_as_coco(root: Path, split: str, path: Path) -> Path:
    """Truth of a VOC split, without the slips whose corners coincide."""
    stems = (root / "ImageSets/Main" / f"{split}.txt").read_text().split()
    names = ["Platelets", "RBC", "WBC"]
    boxes = [
        (stems.index(stem) + 1, names.index(name) + 1, [x1 - 1, y1 - 1, x2 - x1 + 1, y2 - y1 + 1])
        for stem, name, (x1, y1, x2, y2) in voc_objects(root, split)
        if x2 > x1 and y2 > y1
    ]
    annotations = [
        {"id": i, "image_id": image, "category_id": category, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        for i, (image, category, box) in enumerate(boxes, start=1)
    ]
    content = {
        "images": [
            {"id": i, "file_name": f"{stem}.jpg", "width": 640, "height": 480} for i, stem in enumerate(stems, 1)
        ],
        "categories": [{"id": i, "name": name} for i, name in enumerate(names, start=1)],
        "annotations": annotations,
    }
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("name", "split", "most"),
    [("bccd", "val", 100), ("bccd", "test", 100), ("coco53", "val", 100), ("nuclei", "val", 300)],
)
def test_truth_scores_one(shared_data: Path, tmp_path: Path, name: str, split: str, most: int) -> None:
    root = shared_data / name
    records = read_records(config.Data(root=root), split, seed=0)
    if name == "bccd":
        truth = voc_as_coco(root, split, tmp_path / "truth.json")
    else:
        (truth,) = (root / "annotations").glob(f"instances_{split}*.json")
    found = results(records)
    assert average_precision(truth, found, tmp_path, most) == pytest.approx(1.0, abs=1e-9)
    shifted = [entry | {"bbox": [entry["bbox"][0] + 2, *entry["bbox"][1:]]} for entry in found]
    assert average_precision(truth, shifted, tmp_path, most) < 0.97, "two pixels off must show"


def with_ids_of(truth: Path, records: Records) -> Records:
    """The records with the truth's picture ids, by file name: most formats keep none."""
    ids = {Path(image["file_name"]).stem: image["id"] for image in json.loads(truth.read_text())["images"]}
    order = np.array([ids[Path(path).stem] for path in records.paths])
    labels = replace(records.labels, ids=tuple(category_ids(truth)[name] for name in records.labels.names))
    return replace(records, image_ids=order, labels=labels)


def category_ids(truth: Path) -> dict[str, int]:
    return {category["name"]: category["id"] for category in json.loads(truth.read_text())["categories"]}


@pytest.mark.parametrize("kind", [kind for kind in WRITERS if HOLDS[kind] == "boxes"])
@pytest.mark.parametrize("name", ["bccd", "coco53"])
def test_truth_scores_one_after_a_way_through_every_format(
    shared_data: Path, tmp_path: Path, name: str, kind: str
) -> None:
    root = shared_data / name
    original = read_records(config.Data(root=root), "val", seed=0)
    WRITERS[kind]({"val": original}, tmp_path / "set", "link")
    records = read_records(config.Data(root=tmp_path / "set"), "val", seed=0)
    if name == "bccd":
        truth = voc_as_coco(root, "val", tmp_path / "truth.json")
    else:
        (truth,) = (root / "annotations").glob("instances_val*.json")
    assert (len(records), len(records.boxes)) == (len(original), len(original.boxes))
    found = results(with_ids_of(truth, records))
    assert average_precision(truth, found, tmp_path, 100) == pytest.approx(1.0, abs=1e-9)
