"""Masks of objects in COCO's and YOLO's files, painted as pixels, and written again."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dinotune import config
from dinotune.data import formats
from dinotune.data.formats.base import MaskOptions, SplitPlace
from dinotune.data.pixel_labels import class_map, object_masks
from dinotune.data.problems import Findings, Kind
from dinotune.data.records import LabelSet, Records
from dinotune.data.rle import check_mask, decode_mask, encode_mask
from dinotune.data.splits import read_records
from dinotune.errors import DataError
from tests.data.small_sets import write_coco_set, write_picture

SQUARE = [[10, 5, 30, 5, 30, 15, 10, 15]]
TWO_PARTS = [[1, 1, 5, 1, 5, 4, 1, 4], [40.5, 20, 50, 20, 50, 39, 40.5, 39]]


def pixels(*spans: tuple[int, int, int, int]) -> np.ndarray:
    """A mask of 40 x 60 with boxes x1, y1, x2, y2 in it."""
    mask = np.zeros((40, 60), np.bool_)
    for x1, y1, x2, y2 in spans:
        mask[y1:y2, x1:x2] = True
    return mask


CORNER = pixels((0, 0, 7, 9))


def annotation(number: int, segmentation: Any, box: list[float], **more: Any) -> dict[str, Any]:
    return {"id": number, "image_id": 7, "category_id": 90, "bbox": box, "segmentation": segmentation} | more


def coco(root: Path, *annotations: dict[str, Any]) -> tuple[Records, Findings]:
    file = write_coco_set(root, annotations=list(annotations))
    place = SplitPlace(file, (root / "images/train2017",), masks=MaskOptions(wanted=True))
    findings = Findings()
    return formats.READERS["coco"](place, "train", None, findings), findings


def test_coco_polygons_and_run_lengths_are_painted(tmp_path: Path) -> None:
    uncompressed = {"size": [40, 60], "counts": [0, 9, 31, 9, 31, 9, 2400 - 89]}
    records, findings = coco(
        tmp_path,
        annotation(1, SQUARE, [10, 5, 20, 10]),
        annotation(2, TWO_PARTS, [1, 1, 49, 38]),
        annotation(3, json.loads(encode_mask(CORNER)), [0, 0, 7, 9], iscrowd=1),
        annotation(4, uncompressed, [0, 0, 3, 9], iscrowd=1),
        annotation(5, SQUARE, [70, 5, 20, 10]),
        annotation(6, [], [2, 2, 5, 5]),
    )
    assert [problem.kind for problem in findings.problems] == [Kind.OUTSIDE_BOX]
    assert records.crowd.tolist() == [False, False, True, True, False]
    masks = object_masks_of(records)
    wanted = [pixels((10, 5, 30, 15)), None, CORNER, pixels((0, 0, 3, 9)), None]
    for mask, expected in zip(masks, wanted, strict=True):
        assert expected is None or (mask is not None and (mask == expected).all())
    assert masks[1] is not None
    assert (masks[1][:, :20] == pixels((1, 1, 5, 4))[:, :20]).all()
    assert abs(int(masks[1][:, 20:].sum()) - 9.5 * 19) <= 10, "half pixels may fall on either side"
    assert records.segments is not None
    assert records.segments.texts(4, 5) == ("",)


def object_masks_of(records: Records) -> list[np.ndarray | None]:
    texts = records[0].segments or ()
    return [decode_mask(text, (40, 60)) if text else None for text in texts]


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([[1, 2, 3, 4]], "three points"),
        ([[1, 2, 3, 4, 5, "6"]], "three points"),
        ([[1, 2, 3, 4, 5, 1e9]], "far beyond the picture"),
        ({"counts": "abc"}, "RLE of None"),
        ({"size": [40, 60]}, "without `counts`"),
        ({"size": [60, 40], "counts": [2400]}, "RLE of [60, 40] (height, width) in a picture of [40, 60]"),
        ({"size": [40, 60], "counts": [1, 2]}, "do not sum up to 40 * 60 pixels"),
    ],
)
def test_malformed_masks_are_named_and_the_object_kept(tmp_path: Path, segmentation: Any, message: str) -> None:
    records, findings = coco(
        tmp_path, annotation(17, segmentation, [1, 1, 5, 5]), annotation(18, SQUARE, [10, 5, 20, 10])
    )
    (problem,) = findings.problems
    assert (problem.kind, problem.entry) == (Kind.MALFORMED_MASK, "annotation 17")
    assert len(records.boxes) == 2
    assert records[0].segments[0] == ""  # type: ignore[index]
    assert message in problem.message


def test_a_broken_text_is_told_when_it_is_painted(tmp_path: Path) -> None:
    """No reader decodes it."""
    broken = json.loads(encode_mask(CORNER)) | {"counts": "zz~~"}
    records, findings = coco(tmp_path, annotation(1, broken, [0, 0, 7, 9]))
    assert findings.problems == []
    for paint in (object_masks, class_map):
        with pytest.raises(DataError, match=r"seven\.jpg: object 1 of 1: the mask of an object cannot be read"):
            paint(records[0])


@pytest.mark.parametrize("counts", ["", "0", "55", "zz~~", "é", "09o000000000000XR", "09o000000000000XR2", "09XR211"])
def test_run_lengths_are_checked_as_they_are_painted(counts: str) -> None:
    text = json.dumps({"size": [40, 60], "counts": counts})
    try:
        decode_mask(text, (40, 60))
    except DataError:
        with pytest.raises(DataError, match="the mask of an object cannot be read"):
            check_mask(text, (40, 60))
    else:
        check_mask(text, (40, 60))


def test_masks_are_left_out_where_nothing_needs_them(tmp_path: Path) -> None:
    write_coco_set(tmp_path, annotations=[annotation(1, SQUARE, [10, 5, 20, 10]), annotation(2, [[1]], [1, 1, 9, 9])])
    place = SplitPlace(tmp_path / "annotations/instances_train2017.json", (tmp_path / "images/train2017",))
    records = formats.READERS["coco"](place, "train", None, findings := Findings())
    assert (records.segments, findings.problems) == (None, [])


def test_objects_as_masks_and_as_classes(tmp_path: Path) -> None:
    inner = [[12, 7, 20, 7, 20, 12, 12, 12]]
    for split in ("train", "val"):
        write_coco_set(
            tmp_path,
            split,
            f"images/{split}",
            annotations=[
                annotation(1, inner, [12, 7, 8, 5], category_id=18, area=40),
                annotation(2, SQUARE, [10, 5, 20, 10], area=200),
                annotation(3, None, [25.5, 12.5, 14, 27], category_id=18, area=1),
            ],
        )
    data = config.Data(root=tmp_path)
    objects = read_records(data, "train", seed=0, needs="instance_masks")
    assert (objects.has, len(objects.boxes)) == ("instance_masks", 2)
    assert objects.notes[-1] == "1 object without a mask left out"
    assert (object_masks(objects[0]) == [pixels((12, 7, 20, 12)), pixels((10, 5, 30, 15))]).all()
    classes = read_records(data, "train", seed=0, needs="semantic_masks")
    assert classes.labels.names == ("background", "dog", "mug")
    wanted = pixels((10, 5, 30, 15)) * 2 - pixels((12, 7, 20, 12)) * 1 - pixels((25, 12, 40, 40)) * 1
    wanted[12:15, 25:30] = 2
    assert (class_map(classes[0]) == wanted).all(), "the smaller object lies on top, a box that is ignored below all"
    assert classes.notes[-1] == "1 object without a mask painted as a box that is ignored"
    assert (class_map(classes[1]) == 0).all()
    notes = formats.WRITERS["mask_folder"]({"train": classes}, tmp_path / "out", "link")
    assert "2 × object painted: a mask folder holds classes of pixels" in notes
    assert read_records(data, "train", seed=0).segments is None


def yolo(root: Path, lines: str) -> Records:
    write_picture(root / "images/train/a.jpg")
    (root / "labels/train").mkdir(parents=True)
    (root / "labels/train/a.txt").write_text(lines)
    (root / "classes.txt").write_text("dog\nmug\n")
    place = SplitPlace(root / "labels/train", (root / "images/train",), None, root / "classes.txt", MaskOptions(True))
    records = formats.READERS["yolo"](place, "train", None, Findings())
    assert isinstance(records, Records)
    return records


def shares(*points: float) -> str:
    return " ".join(f"{value / side:.6f}" for value, side in zip(points, (60, 40) * (len(points) // 2), strict=True))


def test_yolo_polygons_are_painted(tmp_path: Path) -> None:
    lines = [
        f"1 {shares(10, 5, 30, 5, 30, 15, 10, 15)}",
        "0 0.5 0.5 0 0.1",
        "0 0.5 0.5 0.1 0.1",
        f"0 {shares(0, 0, 7, 0, 7, 9, 0, 9)}",
    ]
    records = yolo(tmp_path, "\n".join(lines))
    assert records.box_labels.tolist() == [1, 0, 0]
    square, nothing, corner = object_masks_of(records)
    assert nothing is None
    assert square is not None
    assert corner is not None
    assert (square == pixels((10, 5, 30, 15))).all()
    assert (corner == CORNER).all()


def test_writers_keep_masks_or_say_so(tmp_path: Path) -> None:
    crowd = json.loads(encode_mask(CORNER))
    records, _ = coco(
        tmp_path / "in",
        annotation(1, SQUARE, [10, 5, 20, 10], area=200),
        annotation(2, TWO_PARTS, [1, 1, 49, 38], area=500),
        annotation(3, crowd, [0, 0, 7, 9], iscrowd=1),
        annotation(4, None, [2, 2, 5, 5]),
    )
    notes = {}
    for kind in ("coco", "yolo", "voc", "torchvision_json"):
        notes[kind] = formats.WRITERS[kind]({"train": records}, tmp_path / kind, "link")
    assert notes["coco"] == ()
    assert "1 × mask of an object left out, its box stands for it: YOLO has none but single polygons" in notes["yolo"]
    assert (
        "2 × mask of an object left out, its box stands for it: TorchVision JSON has none" in notes["torchvision_json"]
    )
    assert "3 × mask of an object left out: Pascal VOC has none" in notes["voc"]
    place = formats.find_splits(tmp_path / "coco", "coco")["train"]
    place = SplitPlace(place.annotations, place.image_folders, masks=MaskOptions(wanted=True))
    again = formats.READERS["coco"](place, "train", None, Findings())
    assert again.segments is not None
    assert records.segments is not None
    assert again.segments.texts(0, 4) == records.segments.texts(0, 4)
    lines = (tmp_path / "yolo/labels/train/seven.txt").read_text().splitlines()
    assert [len(line.split()) for line in lines] == [9, 5, 5]
    found = yolo(tmp_path / "again", lines[0])
    assert (object_masks(found[0])[0] == pixels((10, 5, 30, 15))).all()


def test_real_masks_have_the_areas_that_the_file_says(shared_data: Path, tmp_path: Path) -> None:
    """COCO's areas were measured on polygons, so they differ by what crosses the edges of pixels."""
    file = shared_data / "coco_eval/instances_val2014_100.json"
    content = json.loads(file.read_text())
    for picture in content["images"]:
        (tmp_path / picture["file_name"]).touch()
    place = SplitPlace(file, (tmp_path,), masks=MaskOptions(wanted=True))
    records = formats.READERS["coco"](place, "val", None, findings := Findings())
    assert not [problem for problem in findings.problems if problem.kind is Kind.MALFORMED_MASK]
    painted = []
    for index in range(len(records)):
        record = records[index]
        assert record.segments is not None
        for text in record.segments:
            painted.append(int(decode_mask(text, (record.height, record.width)).sum()))
    difference = np.abs(np.array(painted) - records.areas)
    assert len(painted) == len(records.boxes) > 800
    assert (difference <= 0.1 * records.areas + 60).mean() > 0.99
    assert np.median(difference / records.areas) < 0.03


def test_painted_objects_need_a_background_that_the_model_knows(shapes: Path) -> None:
    data = config.Data(root=shapes)
    painted = read_records(data, "val", seed=0, needs="semantic_masks")
    again = read_records(data, "val", seed=0, needs="semantic_masks", labels=painted.labels)
    assert again.labels.names == painted.labels.names == ("background", "disc", "square", "triangle")
    assert np.array_equal(class_map(again[0]), class_map(painted[0]))
    for names, said in (
        (("triangle", "square", "disc"), "which the model does not know"),
        (("disc", "background", "square", "triangle"), "background is number 1; it must be the first"),
    ):
        with pytest.raises(DataError, match=said):
            read_records(data, "val", seed=0, needs="semantic_masks", labels=LabelSet(names, tuple(range(len(names)))))
