"""TorchVision JSON reader: layout, names, and each thing that can be wrong with file and line."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dinotune import config
from dinotune.data.formats import detect_format, find_splits
from dinotune.data.formats.torchvision_json.read import read_torchvision_json
from dinotune.data.problems import Findings, Kind
from dinotune.data.records import LabelSet, Records
from dinotune.data.splits import read_records
from dinotune.errors import DataError
from tests.data.small_sets import write_picture

FILE, META = "annotations_torchvision.json", "dataset_meta.json"


def entry(name: str = "sub/b.jpg", **changes: Any) -> dict[str, Any]:
    usual = {"file_name": name, "width": 60, "height": 40, "boxes": [[10.5, 5, 30, 15.25]], "labels": [1]}
    return usual | changes


def write_set(root: Path, entries: list[Any], split: str = "train", classes: list[Any] | None = None) -> Path:
    """Pictures `sub/b.jpg` and `a.jpg` of 40 x 60, and a file with a line per entry."""
    for name in ("sub/b.jpg", "a.jpg"):
        write_picture(root / "images" / split / name)
    folder = root / "annotations" / split
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_text("[\n" + ",\n".join(json.dumps(e) for e in entries) + "\n]")
    if classes is not None:
        (folder / META).write_text(json.dumps({"classes": classes, "image_root": "elsewhere"}))
    return root


def read(root: Path, labels: LabelSet | None = None) -> tuple[Records, Findings]:
    findings = Findings()
    return read_torchvision_json(find_splits(root, "torchvision_json")["train"], "train", labels, findings), findings


def test_reads_nested_pictures_in_listed_order(tmp_path: Path) -> None:
    empty = entry("a.jpg", boxes=[], labels=[])
    write_set(tmp_path, [entry(), empty], classes=["dog", "cat"])
    write_set(tmp_path, [entry()], split="val", classes=["cat", "dog"])
    assert detect_format(tmp_path) == "torchvision_json"
    records, findings = read(tmp_path)
    assert findings.problems == []
    assert records.labels == LabelSet(("dog", "cat"), (1, 2))
    assert [Path(path) for path in records.paths] == [tmp_path / "images/train" / n for n in ("sub/b.jpg", "a.jpg")]
    assert records.image_ids.tolist() == [1, 2]
    assert records.boxes.tolist() == [[10.5, 5, 30, 15.25]]
    assert records.areas.tolist() == [19.5 * 10.25]
    assert np.diff(records.offsets).tolist() == [1, 0]
    val = read_records(config.Data(root=tmp_path), "val", seed=0, labels=records.labels)
    assert [records.labels.names[label] for label in val.box_labels] == ["dog"], "classes are matched by name"


@pytest.mark.parametrize("place", ["annotations", "annotations/val"])
def test_names_may_lie_above_or_with_another_split(tmp_path: Path, place: str) -> None:
    write_set(tmp_path, [entry()])
    (tmp_path / place).mkdir(exist_ok=True)
    (tmp_path / place / META).write_text('{"classes": ["dog", "cat"]}')
    assert read(tmp_path)[0].labels.names == ("dog", "cat")


def test_names_are_made_up_from_all_splits(tmp_path: Path) -> None:
    write_set(write_set(tmp_path, [entry()]), [entry(labels=[3])], split="val")
    records, findings = read(tmp_path)
    assert records.labels.names == ("class 0", "class 1", "class 2", "class 3")
    assert [problem.kind for problem in findings.problems] == [Kind.NAMELESS_CLASSES]


def test_pictures_lie_at_the_image_root_or_where_settings_say(tmp_path: Path) -> None:
    write_set(tmp_path, [entry()], classes=["dog", "cat"])
    (tmp_path / "images").rename(tmp_path / "elsewhere")
    file = tmp_path / "annotations/train" / FILE
    explicit = config.Split(annotations=file, images=tmp_path / "elsewhere/train")
    assert len(read_records(config.Data(test=explicit), "test", seed=0)) == 1
    with pytest.raises(DataError, match=r"none of its 1 pictures exists \(sub/b.jpg\); searched .*data.SPLIT.images"):
        read(tmp_path)
    (tmp_path / "annotations/train" / META).write_text(
        '{"classes": ["dog", "cat"], "image_root": "../../elsewhere/train"}'
    )
    assert read(tmp_path)[0].paths.tolist() == [str(tmp_path / "elsewhere/train/sub/b.jpg")]


def test_an_explicit_file_is_recognised(tmp_path: Path) -> None:
    write_set(tmp_path, [entry()], classes=["dog", "cat"])
    data = config.Data(test=config.Split(annotations=tmp_path / "annotations/train" / FILE))
    assert read_records(data, "test", seed=0).paths.tolist() == [str(tmp_path / "images/train/sub/b.jpg")]


BROKEN: list[tuple[Any, Kind, str]] = [
    ("a.jpg", Kind.MALFORMED_ENTRY, "'a.jpg' is not an object"),
    (entry(boxes=None), Kind.MALFORMED_ENTRY, "needs a list `boxes`"),
    (entry(""), Kind.MALFORMED_PICTURE, "file_name '' is no name"),
    (entry(height="tall"), Kind.MALFORMED_PICTURE, "height 'tall' is not a number of pixels"),
    (entry(width=10**30), Kind.MALFORMED_PICTURE, "is not a number of pixels"),
    (entry("gone.jpg"), Kind.MISSING_PICTURE, "gone.jpg does not exist"),
    (entry("a.jpg"), Kind.REPEATED_FILE, "a.jpg is entry 0 already"),
    (entry(labels=[1, 0]), Kind.UNEQUAL_LISTS, "1 boxes, but 2 labels"),
    (entry(boxes=[[1, 2, 3]]), Kind.MALFORMED_BOX, "box [1, 2, 3] is not [x1, y1, x2, y2]"),
    (entry(boxes=[[1, 2, 3, float("nan")]]), Kind.MALFORMED_BOX, "is not [x1, y1, x2, y2]"),
    (entry(boxes=[[30, 5, 10, 15]]), Kind.NEGATIVE_BOX, "box from (30, 5) to (10, 15)"),
    (entry(boxes=[[10, 5, 10, 15]]), Kind.EMPTY_BOX, "box from (10, 5) to (10, 15)"),
    (entry(boxes=[[100, 5, 110, 15]]), Kind.OUTSIDE_BOX, "in a picture of 60 x 40"),
    (entry(boxes=[[50, 5, 70, 15]]), Kind.CLIPPED_BOX, "in a picture of 60 x 40"),
    (entry(boxes=[[5, 5, 7, 8]] * 2, labels=[0, 0]), Kind.DUPLICATE_BOX, "is there already"),
    (entry(labels=["cat"]), Kind.MALFORMED_CLASS, "label 'cat' is none of 0, 1, 2"),
    (entry(labels=[-1]), Kind.MALFORMED_CLASS, "label -1 is none of"),
    (entry(labels=[2]), Kind.UNKNOWN_CLASS, "label 2, but there are 2 classes, 0 to 1"),
]


@pytest.mark.parametrize(("broken", "kind", "message"), BROKEN)
def test_a_broken_entry_is_named_with_its_line(tmp_path: Path, broken: Any, kind: Kind, message: str) -> None:
    write_set(tmp_path, [entry("a.jpg"), broken], classes=["dog", "cat"])
    records, findings = read(tmp_path)
    (problem,) = findings.problems
    assert (problem.kind, problem.line, problem.entry) == (kind, 3, "entry 1")
    assert problem.file == tmp_path / "annotations/train" / FILE
    assert message in problem.message
    assert records.paths[0] == str(tmp_path / "images/train/a.jpg")
    kept = {Kind.CLIPPED_BOX: 1, Kind.DUPLICATE_BOX: 2}.get(kind, 0)
    assert len(records.boxes) == 1 + kept


def test_classes_outside_the_wanted_labels_are_named(tmp_path: Path) -> None:
    write_set(tmp_path, [entry(boxes=[[1, 2, 3, 4], [5, 6, 7, 8]], labels=[0, 1])], classes=["dog", "cat"])
    records, findings = read(tmp_path, LabelSet(("cat",), (5,)))
    assert (records.box_labels.tolist(), records.boxes.tolist()) == ([0], [[5, 6, 7, 8]])
    assert [(p.kind, p.message) for p in findings.problems] == [
        (Kind.UNKNOWN_CLASS, 'label 0 "dog" is not among the classes of the model')
    ]


def test_sides_in_place_of_corners_are_seen(tmp_path: Path) -> None:
    boxes = [[40, 20 + i, 10, 5] for i in range(6)]
    write_set(tmp_path, [entry(boxes=boxes, labels=[0] * 6)], classes=["dog"])
    assert Kind.SIDES_AS_CORNERS in read(tmp_path)[1].counts()


def test_size_comes_from_the_picture_where_absent(tmp_path: Path) -> None:
    write_set(tmp_path, [entry(width=0, height=None)], classes=["dog", "cat"])
    assert read(tmp_path)[0].sizes_hw.tolist() == [[40, 60]]


@pytest.mark.parametrize(
    ("annotations", "meta", "message"),
    [
        ("[\n{]", '{"classes": ["a"]}', rf"{FILE}:2: not readable as JSON"),
        ("[]", '{"classes": ["a"]}', rf"{FILE}: holds an empty list"),
        ('[{"file_name": "a.jpg", "boxes": [], "labels": []}]', "[1]", rf"{META}: no list `classes`"),
        ('[{"file_name": "a.jpg", "boxes": [], "labels": []}]', '{"classes": []}', rf"{META}: no names of classes"),
    ],
)
def test_refuses_what_leaves_nothing_to_read(tmp_path: Path, annotations: str, meta: str, message: str) -> None:
    write_set(tmp_path, [])
    (tmp_path / "annotations/train" / FILE).write_text(annotations)
    (tmp_path / "annotations/train" / META).write_text(meta)
    with pytest.raises(DataError, match=message):
        read(tmp_path)
