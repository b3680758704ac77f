"""COCO reader: ids, crowds, areas, folders, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dinotune import config
from dinotune.data.formats import detect_format, find_splits
from dinotune.data.records import LabelSet, Records
from dinotune.data.splits import read_records
from dinotune.errors import DataError
from tests.data.small_sets import write_coco_set, write_picture


def read(root: Path, split: str = "train", labels: LabelSet | None = None, **explicit: Any) -> Records:
    data = config.Data(
        root=root,
        val=config.Split.model_validate({"annotations": root / "annotations/instances_train2017.json"}),
        **explicit,
    )
    return read_records(data, split, seed=0, labels=labels)


def test_keeps_sparse_ids_and_listed_order(tmp_path: Path) -> None:
    write_coco_set(tmp_path)
    records = read(tmp_path)
    assert records.labels == LabelSet(("dog", "mug"), (18, 90))
    assert records.image_ids.tolist() == [7, 3]
    first = records[0]
    assert first.path == tmp_path / "images/train2017/seven.jpg"
    assert first.boxes.tolist() == [[10, 5, 30, 15], [0, 0, 60, 40]]
    assert first.labels.tolist() == [1, 0]
    assert first.crowd.tolist() == [False, True]
    assert first.areas.tolist() == [111, 2400], "the file's area, else width x height"
    assert records[1].boxes.tolist() == [[1.5, 2.5, 4.5, 6.5]]
    assert records.notes == ()


@pytest.mark.parametrize("folder", ["images/train2017", "train2017", "images/train", "train", "images"])
def test_finds_the_pictures(tmp_path: Path, folder: str) -> None:
    write_coco_set(tmp_path, folder=folder)
    assert detect_format(tmp_path) == "coco"
    assert read(tmp_path)[0].path == tmp_path / folder / "seven.jpg"


def test_a_file_name_may_repeat_its_folder(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "train2017/seven.jpg"}]
    write_coco_set(tmp_path, folder="train2017", images=images, annotations=[])
    record = read(tmp_path)[0]
    assert record.path == tmp_path / "train2017/seven.jpg"
    assert (record.height, record.width) == (40, 60), "read from the file's header where the JSON has no size"


def test_file_names_as_windows_writes_them(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "sub\\seven.jpg"}]
    write_coco_set(tmp_path, images=images, annotations=[])
    write_picture(tmp_path / "images/train2017/sub/seven.jpg")
    assert read(tmp_path)[0].path == tmp_path / "images/train2017/sub/seven.jpg"


@pytest.mark.parametrize(
    ("changes", "crowd", "area"),
    [
        ({"iscrowd": "0"}, False, 300),
        ({"iscrowd": "1"}, True, 300),
        ({"bbox": [50, 30, 20, 20]}, False, 100),
        ({"bbox": [50, 30, 20, 20], "area": 77}, False, 77),
    ],
)
def test_crowd_as_text_and_areas_of_clipped_boxes(
    tmp_path: Path, changes: dict[str, Any], crowd: bool, area: float
) -> None:
    box = {"id": 1, "image_id": 7, "category_id": 90, "bbox": [10, 5, 20, 15]} | changes
    write_coco_set(tmp_path, annotations=[box])
    record = read(tmp_path)[0]
    assert (record.crowd.tolist(), record.areas.tolist()) == ([crowd], [area])


def test_names_of_splits_are_not_mixed_up(tmp_path: Path) -> None:
    for split in ("train2017", "trainval2017", "minival2014", "valid", "test-dev2017"):
        write_coco_set(tmp_path, split=split, folder="images")
    assert list(find_splits(tmp_path, "coco")) == ["train", "val", "test"]
    write_coco_set(tmp_path, split="train2014")
    with pytest.raises(DataError, match=r"instances_train2014.json, instances_train2017.json.*data.train.annotations"):
        find_splits(tmp_path, "coco")


def test_roboflow_folder_drops_the_unused_placeholder(tmp_path: Path) -> None:
    categories = [
        {"id": 0, "name": "cells", "supercategory": "none"},
        {"id": 1, "name": "RBC", "supercategory": "cells"},
    ]
    box = {"id": 4, "image_id": 0, "category_id": 1, "bbox": [1, 1, 5, 5]}
    for split in ("train", "valid", "test"):
        write_picture(tmp_path / split / "a.jpg")
        content = {"images": [{"id": 0, "file_name": "a.jpg"}], "categories": categories, "annotations": [box]}
        (tmp_path / split / "_annotations.coco.json").write_text(json.dumps(content))
    data = config.Data(root=tmp_path)
    assert list(find_splits(tmp_path, "coco")) == ["train", "val", "test"]
    records = read_records(data, "val", seed=0)
    assert records.labels == LabelSet(("RBC",), (1,))
    assert records[0].path == tmp_path / "valid/a.jpg"

    used = {
        "images": [{"id": 0, "file_name": "a.jpg"}],
        "categories": categories,
        "annotations": [box | {"category_id": 0}],
    }
    (tmp_path / "valid/_annotations.coco.json").write_text(json.dumps(used))
    assert read_records(data, "val", seed=0).labels.ids == (0, 1)


BOX = {"id": 55, "image_id": 7, "category_id": 90, "bbox": [1, 1, 5, 5]}
PICTURE = {"id": 7, "file_name": "seven.jpg", "height": 40, "width": 60}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"annotations": [BOX | {"category_id": 1}]},
            r"instances_train2017.json:1 \(annotation 55\): unknown category_id 1",
        ),
        ({"annotations": [BOX | {"image_id": 8}]}, r"instances_train2017.json:1 \(annotation 55\): unknown image_id 8"),
        ({"annotations": [BOX | {"bbox": [1, 2, 3]}]}, r"annotation 55\): bbox \[1, 2, 3\]"),
        ({"annotations": [BOX | {"bbox": [1, 2, float("nan"), 3]}]}, r"annotation 55\): bbox"),
        ({"categories": [{"id": 90, "name": "mug"}, {"id": 18, "name": "mug"}]}, "occur twice"),
        ({"images": [{"id": 7, "file_name": ""}]}, r"images\[0\]\): id 7, file_name '': needs an integer `id`"),
        ({"categories": []}, "no categories"),
        (
            {"images": [{"id": 7, "file_name": "seven.jpg"}] * 2},
            r"images\[1\]\): picture id 7 belongs to seven.jpg already",
        ),
        ({"annotations": None}, "no list `annotations`"),
        ({"images": []}, "no pictures"),
        ({"categories": ["mug"]}, r"instances_train2017.json: categories\[0\]: 'mug' is not an object"),
        ({"images": ["seven.jpg"]}, r"instances_train2017.json:1 \(images\[0\]\): 'seven.jpg' is not an object"),
        ({"annotations": [BOX, None]}, r"instances_train2017.json:1 \(annotations\[1\]\): None is not an object"),
        ({"annotations": [BOX | {"category_id": [90]}]}, r"annotation 55\): unknown category_id \[90\]"),
        ({"annotations": [BOX | {"category_id": "90"}]}, r"annotation 55\): unknown category_id '90'"),
        ({"annotations": [BOX | {"image_id": [7]}]}, r"annotation 55\): unknown image_id \[7\]"),
        ({"categories": [{"id": 90, "name": ["mug"], "supercategory": []}]}, "integer `id` and a `name`"),
        ({"images": [PICTURE | {"width": "60 px"}]}, r"train2017.json:1 \(image 7\): width '60 px' is not a number"),
        ({"images": [PICTURE | {"width": -60}]}, r"train2017.json:1 \(image 7\): width -60 is not a number of pixels"),
        ({"images": [PICTURE | {"height": float("inf")}]}, r"image 7\): height inf is not a number of pixels"),
        (
            {"annotations": [BOX | {"area": "large"}]},
            r"train2017.json:1 \(annotation 55\): area 'large' is not a number",
        ),
        ({"annotations": [BOX | {"area": -5}]}, r"annotation 55\): area -5 is not a number"),
        ({"annotations": [BOX | {"bbox": [1, 2, 1e300, 3]}]}, r"annotation 55\): bbox \[1, 2, 1e\+300"),
        ({"images": [PICTURE | {"id": 10**30}]}, r"images\[0\]\): id 10{30}, .*: needs an integer"),
        ({"images": [PICTURE | {"height": 10**30}]}, r"image 7\): height 10{30} is not a number of pixels"),
    ],
)
def test_refuses(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    write_coco_set(tmp_path, **({"annotations": []} | changes))
    with pytest.raises(DataError, match=message):
        read(tmp_path)


def test_broken_json_is_named_with_the_position(tmp_path: Path) -> None:
    path = write_coco_set(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    with pytest.raises(DataError, match=r"instances_train2017.json:1: not readable as JSON: .*line 1 column \d+"):
        read(tmp_path)
    path.write_bytes(whole.decode().encode("utf-16"))
    with pytest.raises(DataError, match=r"instances_train2017.json: not readable as JSON: .*position 0"):
        read(tmp_path)
    path.write_text('{"images": ' + "[" * 100_000)
    with pytest.raises(DataError, match=r"instances_train2017.json: not readable as JSON: maximum recursion"):
        read(tmp_path)
    path.write_bytes(b"\xef\xbb\xbf" + whole)
    assert len(read(tmp_path)) == 2, "a byte order mark alone does no harm"


def test_missing_pictures_are_counted_and_the_folder_named(tmp_path: Path) -> None:
    images = [{"id": i, "file_name": f"{i}.jpg", "height": 40, "width": 60} for i in range(1, 6)]
    write_coco_set(tmp_path, images=[*images, {"id": 7, "file_name": "seven.jpg"}], annotations=[])
    with pytest.raises(
        DataError, match=r"5 x picture that does not exist\n.*json:1 \(images\[0\]\): .*images/train2017/1.jpg does not"
    ):
        read(tmp_path)
    write_coco_set(tmp_path, images=images, annotations=[])
    with pytest.raises(
        DataError, match=r"none of its 5 pictures exists \(1.jpg, 2.jpg, 3.jpg, …\); searched .*images/train2017"
    ):
        read(tmp_path)


def test_boxes_are_clipped_and_those_without_area_left_out(tmp_path: Path) -> None:
    boxes = [[-5, 10, 20, 10], [50, 30, 10.4, 10.4], [10, 10, 0, 5], [70, 10, 5, 5], [5, 5, -3, 4]]
    annotations = [BOX | {"id": 100 + i, "bbox": box, "area": 9} for i, box in enumerate(boxes)]
    file = write_coco_set(tmp_path, annotations=annotations)
    records = read(tmp_path, on_error="skip")
    assert records.boxes.tolist() == [[0, 10, 15, 20], [50, 30, 60, 40]]
    hw = "in a picture of 60 x 40 (width x height)"
    assert records.notes == (
        f"1 × box reaching beyond the picture, clipped: {file}:1 (annotation 100): box from (-5, 10) to (15, 20) {hw}",
        f"1 × box without an area, left out: {file}:1 (annotation 102): box from (10, 10) to (10, 15) {hw}",
        f"1 × box outside the picture, left out: {file}:1 (annotation 103): box from (70, 10) to (75, 15) {hw}",
        f"1 × box with a negative width or height, left out: {file}:1 (annotation 104): box from (5, 5) to (2, 9) {hw}",
    )


def test_classes_are_matched_by_name(tmp_path: Path) -> None:
    write_coco_set(tmp_path)
    trained = LabelSet(("mug", "dog"), (1, 2))
    records = read(tmp_path, labels=trained)
    assert records.labels == LabelSet(("mug", "dog"), (90, 18)), "the model's order, this file's ids"
    assert records.box_labels.tolist() == [0, 1, 1]
    with pytest.raises(DataError, match=r'annotation 2\): class "dog" is not among the classes of the model'):
        read(tmp_path, labels=LabelSet(("mug",), (90,)))


@pytest.mark.parametrize(
    ("trained_ids", "expected"),
    [
        ((18, 90, 3), (90, 18, 3)),
        ((3, 18, 90), (90, 18, 91)),
        ((1, 2, 18), (90, 18, 91)),
    ],
)
def test_a_class_that_the_file_lacks_gets_an_id_that_it_does_not_use(
    tmp_path: Path, trained_ids: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    write_coco_set(tmp_path)
    records = read(tmp_path, labels=LabelSet(("mug", "dog", "bird"), trained_ids))
    assert records.labels == LabelSet(("mug", "dog", "bird"), expected), "this file's ids for the classes it has"
    assert records.box_labels.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("name", "split", "pictures", "boxes"),
    [
        ("coco53", "train", 26, 181),
        ("coco53", "val", 27, 173),
        ("nuclei", "train", 160, 5294),
        ("nuclei", "val", 40, 1348),
    ],
)
def test_agrees_with_pycocotools(
    shared_data: Path, name: str, split: str, pictures: int, boxes: int, capsys: pytest.CaptureFixture[str]
) -> None:
    from pycocotools.coco import COCO

    records = read_records(config.Data(root=shared_data / name), split, seed=0)
    assert (len(records), len(records.boxes)) == (pictures, boxes)
    (file,) = (shared_data / name / "annotations").glob(f"instances_{split}*.json")
    theirs = COCO(file)
    capsys.readouterr()
    assert sorted(records.image_ids.tolist()) == sorted(theirs.getImgIds())
    assert list(records.labels.ids) == sorted(theirs.getCatIds())
    for record in (records[i] for i in range(len(records))):
        annotations = theirs.loadAnns(theirs.getAnnIds(record.image_id))
        assert [records.labels.ids[label] for label in record.labels] == [a["category_id"] for a in annotations]
        xywh = np.concatenate([record.boxes[:, :2], record.boxes[:, 2:] - record.boxes[:, :2]], 1)
        # Boxes that overhang by rounding are clipped.
        np.testing.assert_allclose(xywh, np.array([a["bbox"] for a in annotations]).reshape(-1, 4), atol=0.02)
        assert record.areas.tolist() == [a["area"] for a in annotations]
        assert record.path.name == theirs.loadImgs(record.image_id)[0]["file_name"]


def test_coco53_has_cocos_sparse_ids(shared_data: Path) -> None:
    labels = read_records(config.Data(root=shared_data / "coco53"), "val", seed=0).labels
    assert len(labels) == 80
    assert labels.ids[-1] == 90
    assert dict(zip(labels.ids, labels.names, strict=True))[90] == "toothbrush"
