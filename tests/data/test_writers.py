"""Writers: what is written is read back the same, and what a format cannot hold is said."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from dinotune import config
from dinotune.data.formats import FINDERS, HOLDS, READERS, WRITERS, detect_format
from dinotune.data.formats.coco.write import instances_text
from dinotune.data.formats.writing import Pictures
from dinotune.data.formats.yolo.write import label_text
from dinotune.data.problems import Findings
from dinotune.data.records import ImageRecord, LabelSet, Records
from dinotune.data.splits import read_records
from dinotune.errors import DataError
from tests.data.small_sets import write_picture

FORMATS = tuple(kind for kind in WRITERS if HOLDS[kind] == "boxes")
LABELS = LabelSet(("big dog", "Käse", "no"), (18, 3, 90))
PIXELS = {"coco": 1e-5, "voc": 1e-4, "yolo": 1e-3, "torchvision_json": 0.006}
"""Precision of each format for pictures of up to 640 pixels."""


def image(path: Path, id_: int, rows: list[tuple[float, ...]], crowd: int = -1) -> ImageRecord:
    """A picture of 40 x 60 with rows x1, y1, x2, y2, label; row `crowd` is an ignore region."""
    write_picture(path)
    columns = np.array(rows, np.float64).reshape(-1, 5)
    boxes = columns[:, :4]
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    flags = np.arange(len(rows)) == crowd
    return ImageRecord(path, id_, 40, 60, boxes, columns[:, 4].astype(np.int64), flags, areas)


def small_splits(folder: Path) -> dict[str, Records]:
    """Nested pictures of one stem, two decimals, an empty picture, and pictures of one name in two splits."""
    train = [
        image(folder / "t/b/1.png", 70, [(0, 0, 60, 40, 0), (1.25, 2.5, 3.75, 30.01, 2)]),
        image(folder / "t/a/1.png", 7, [(10, 5, 30, 15, 1)]),
        image(folder / "t/a/empty.png", 8, []),
    ]
    val = [image(folder / "v/a/1.png", 1, [(2, 3, 20.5, 21.25, 0), (2, 3, 20.5, 21.25, 1), (5, 5, 9, 9, 2)])]
    both = {"train": train, "val": val}
    return {split: Records.from_images(split, LABELS, images) for split, images in both.items()}


def objects(records: Records) -> list[list[tuple[str, list[float]]]]:
    """Class and box of every object by picture, objects and pictures in an order that no format changes."""
    pictures = [records[i] for i in range(len(records))]
    return sorted(
        sorted(
            (records.labels.names[label], box)
            for label, box in zip(picture.labels, picture.boxes.tolist(), strict=True)
        )
        for picture in pictures
    )


def assert_same(read: Records, written: Records, pixels: float) -> None:
    assert sorted(read.sizes_hw.tolist()) == sorted(written.sizes_hw.tolist())
    for got, wanted in zip(objects(read), objects(written), strict=True):
        assert [name for name, _ in got] == [name for name, _ in wanted]
        assert np.allclose([box for _, box in got], [box for _, box in wanted], rtol=0, atol=pixels)


@pytest.mark.parametrize("pictures", ["copy", "link"])
@pytest.mark.parametrize("kind", FORMATS)
def test_what_is_written_is_read_back(tmp_path: Path, kind: str, pictures: Pictures) -> None:
    splits = small_splits(tmp_path / "in")
    out = tmp_path / "out"
    assert WRITERS[kind](splits, out, pictures) == ()
    assert detect_format(out) == kind, "nothing but the one format is found"
    for split, written in splits.items():
        read = read_records(config.Data(root=out), split, seed=0)
        assert read.notes == ()
        assert_same(read, written, PIXELS[kind])
        assert sorted(read.labels.names) == sorted(LABELS.names)
        assert all(Path(path).is_symlink() == (pictures == "link") for path in read.paths)
        assert all(Path(path).is_relative_to(out) for path in read.paths)


def test_coco_keeps_ids_and_order(tmp_path: Path) -> None:
    splits = small_splits(tmp_path / "in")
    WRITERS["coco"](splits, tmp_path / "out", "copy")
    read = read_records(config.Data(root=tmp_path / "out"), "train", seed=0)
    assert read.image_ids.tolist() == [70, 7, 8]
    assert dict(zip(read.labels.names, read.labels.ids, strict=True)) == dict(
        zip(LABELS.names, LABELS.ids, strict=True)
    )
    names = [Path(path).relative_to(tmp_path / "out/images/train").as_posix() for path in read.paths]
    assert names == ["b/1.png", "a/1.png", "a/empty.png"]


@pytest.mark.parametrize("kind", FORMATS)
def test_pictures_may_stay_where_they_are(tmp_path: Path, kind: str) -> None:
    splits = small_splits(tmp_path / "in")
    before = sorted((tmp_path / "in").rglob("*"))
    WRITERS[kind](splits, tmp_path / "out", "none")
    assert not list((tmp_path / "out").rglob("*.png"))
    WRITERS[kind](splits, tmp_path / "out", "copy")
    WRITERS[kind](splits, tmp_path / "out", "copy")
    pictures = [*(tmp_path / "out").rglob("*.png")]
    assert len(pictures) == 4, "a second writing changes nothing"
    assert not list((tmp_path / "out").rglob(".*")), "nothing unfinished stays"
    assert sorted((tmp_path / "in").rglob("*")) == before


@pytest.mark.parametrize("pictures", ["copy", "link"])
def test_pictures_that_are_there_already_stay(tmp_path: Path, pictures: Pictures) -> None:
    only = image(tmp_path / "images/train/1.png", 1, [(1, 1, 9, 9, 0)])
    content = only.path.read_bytes()
    for kind in ("coco", "yolo", "torchvision_json"):
        WRITERS[kind]({"train": Records.from_images("in", LABELS, [only])}, tmp_path, pictures)
        assert only.path.read_bytes() == content
        assert not only.path.is_symlink()


@pytest.mark.parametrize(
    ("kind", "crowds", "notes"),
    [
        ("coco", [False, True], ()),
        ("voc", [False, True], ("1 × area of a mask", "classes without boxes are lost, Pascal VOC lists none: no")),
        ("yolo", [False], ("1 × ignore region", "1 × area of a mask")),
        ("torchvision_json", [False], ("1 × ignore region", "1 × area of a mask")),
    ],
)
def test_ignore_regions_and_areas_are_kept_or_said(
    tmp_path: Path, kind: str, crowds: list[bool], notes: tuple[str, ...]
) -> None:
    only = image(tmp_path / "in/1.png", 1, [(1, 1, 9, 9, 0), (3, 3, 30, 30, 1)], crowd=1)
    only.areas[0] = 17.5
    found = WRITERS[kind]({"train": Records.from_images("in", LABELS, [only])}, tmp_path / "out", "copy")
    assert [note[: len(start)] for note, start in zip(found, notes, strict=True)] == list(notes)
    findings = Findings()
    read = READERS[kind](FINDERS[kind](tmp_path / "out")["train"], "out", None, findings)
    assert findings.problems == []
    assert read.crowd.tolist() == crowds
    assert read.areas[0] == pytest.approx(17.5 if kind == "coco" else 64, abs=1e-3)


def test_voc_leaves_out_boxes_whose_corners_would_coincide(tmp_path: Path) -> None:
    only = image(tmp_path / "in/1.png", 1, [(4, 4, 5, 20, 0), (7, 7, 8.5, 20, 0)])
    (note,) = WRITERS["voc"](
        {"train": Records.from_images("in", LabelSet(("a",), (1,)), [only])}, tmp_path / "out", "copy"
    )
    assert note.startswith("1 × box of at most one pixel")
    assert "<xmax>8.5</xmax>" in (tmp_path / "out/Annotations/1.xml").read_text()
    read = READERS["voc"](FINDERS["voc"](tmp_path / "out")["train"], "out", None, findings := Findings())
    assert (read.boxes.tolist(), findings.problems) == ([[7, 7, 8.5, 20]], [])


def test_voc_keeps_names_of_two_splits_apart(tmp_path: Path) -> None:
    splits = {split: small_splits(tmp_path / "in")[split].select(np.array([0])) for split in ("train", "val")}
    WRITERS["voc"](splits, tmp_path / "out", "copy")
    assert sorted(path.name for path in (tmp_path / "out/JPEGImages").iterdir()) == ["train_1.png", "val_1.png"]
    assert (tmp_path / "out/ImageSets/Main/val.txt").read_text() == "val_1\n"


@pytest.mark.parametrize("kind", ["yolo", "voc"])
def test_one_stem_twice_is_refused_naming_both(tmp_path: Path, kind: str) -> None:
    images = [image(tmp_path / name, 1, [(1, 1, 9, 9, 0)]) for name in ("1.png", "1.jpg")]
    with pytest.raises(DataError, match=r"1.png and \S*1.jpg would share one \w+ file; rename"):
        WRITERS[kind]({"train": Records.from_images("in", LABELS, images)}, tmp_path / "out", "copy")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", FORMATS)
def test_splits_with_different_classes_are_refused(tmp_path: Path, kind: str) -> None:
    splits = small_splits(tmp_path / "in")
    others = Records.from_images("others", LabelSet(("a", "b", "c"), (1, 2, 3)), [splits["val"][0]])
    with pytest.raises(DataError, match="train and others have different classes"):
        WRITERS[kind](splits | {"val": others}, tmp_path / "out", "copy")


def test_yolo_refuses_rotation_that_the_annotation_leaves_out(tmp_path: Path) -> None:
    only = image(tmp_path / "1.jpg", 1, [(1, 1, 9, 9, 0)])
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (60, 40)).save(only.path, exif=exif)
    with pytest.raises(DataError, match=r"1.jpg: annotated as 60 x 40, but shown as 40 x 60"):
        WRITERS["yolo"]({"train": Records.from_images("in", LABELS, [only])}, tmp_path / "out", "copy")


def test_label_text() -> None:
    boxes = np.array([[0, 0, 60, 40], [15, 10, 30, 20]], np.float32)
    text = label_text(boxes, np.array([2, 0]), (40, 60))
    assert text == "2 0.500000 0.500000 1.000000 1.000000\n0 0.375000 0.375000 0.250000 0.250000\n"
    assert label_text(np.empty((0, 4)), np.empty(0, np.int64), (40, 60)) == ""


def test_instances_with_scores(tmp_path: Path) -> None:
    only = image(tmp_path / "1.png", 5, [(1, 2, 9, 9.5, 1), (0, 0, 4, 4, 0)])
    content = json.loads(instances_text(LABELS, [only], ["1.png"], [np.array([0.25, 1], np.float32)]))
    assert content["images"] == [{"id": 5, "file_name": "1.png", "width": 60, "height": 40}]
    assert [annotation["score"] for annotation in content["annotations"]] == [0.25, 1]
    assert content["annotations"][0] | {"score": 0} == {
        "id": 1, "image_id": 5, "category_id": 3, "bbox": [1, 2, 8, 7.5], "area": 60, "iscrowd": 0, "score": 0,
    }  # fmt: skip
    assert all("score" not in a for a in json.loads(instances_text(LABELS, [only], ["1.png"]))["annotations"])
