"""YOLO reader: layouts, data.yaml, names, polygons, and each thing that can be wrong with file and line."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from dinotune import config
from dinotune.data.formats import detect_format, find_splits
from dinotune.data.formats.yolo.read import read_yolo
from dinotune.data.problems import Findings, Kind
from dinotune.data.records import LabelSet, Records
from dinotune.data.splits import read_records
from dinotune.errors import DataError
from tests.data.small_sets import write_coco_set, write_picture

BOX = "0 0.5 0.25 0.5 0.5\n"
"""Of a picture of 40 x 60: from (15, 0) to (45, 20)."""


def write_files(root: Path, files: Mapping[str, str]) -> Path:
    """Texts, and pictures of 40 x 60 for names that are no texts."""
    for name, text in files.items():
        path = root / name
        if path.suffix in (".txt", ".yaml"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        else:
            write_picture(path)
    return root


def read(root: Path, split: str = "train", labels: LabelSet | None = None) -> tuple[Records, Findings]:
    findings = Findings()
    return read_yolo(find_splits(root, "yolo")[split], split, labels, findings), findings


YAML = "names: [dog, cat]\n"
ULTRALYTICS = {
    "images/train/a.jpg": "", "labels/train/a.txt": BOX, "images/train/sub/b.png": "", "labels/train/sub/b.txt": BOX,
    "images/val/c.jpg": "", "labels/val/c.txt": BOX,
}  # fmt: skip
ROBOFLOW = {
    "train/images/a.jpg": "", "train/labels/a.txt": BOX, "train/images/b.jpg": "", "train/labels/b.txt": BOX,
    "valid/images/c.jpg": "", "valid/labels/c.txt": BOX,
}  # fmt: skip
LAYOUTS: dict[str, tuple[Mapping[str, str], Mapping[str, str]]] = {
    "folders": (ULTRALYTICS, {"data.yaml": YAML + "train: images/train\nval: images/val\n"}),
    "path": (ULTRALYTICS, {"data.yaml": YAML + "path: .\ntrain: images/train\nval: images/val\n"}),
    "names as mapping": (ULTRALYTICS, {"data.yaml": "names: {1: cat, 0: dog}\ntrain: images/train\nval: images/val\n"}),
    "nc as text": (ULTRALYTICS, {"data.yaml": YAML + "nc: '2'\ntrain: images/train\nval: images/val\n"}),
    "another name": (ULTRALYTICS, {"pets.yaml": YAML + "train: images/train\nval: images/val\n", "x.yaml": "a: 1\n"}),
    "list of folders": (
        ULTRALYTICS,
        {"data.yaml": YAML + "train: [images/train, images/train/sub]\nval: images/val\n"},
    ),
    "listing": (
        ULTRALYTICS,
        {
            "data.yaml": YAML + "train: train.txt\nval: images/val\n",
            "train.txt": "./images/train/a.jpg\n\nimages/train/sub/b.png\n",
        },
    ),
    "names alone": (ULTRALYTICS, {"data.yaml": YAML + "nc: 2\n"}),
    "classes.txt": (ULTRALYTICS, {"classes.txt": "dog\ncat\n"}),
    "classes.txt beside labels": (ULTRALYTICS, {"labels/train/classes.txt": "dog\ncat\n\n"}),
    "Roboflow": (
        ROBOFLOW,
        {"data.yaml": YAML + "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n"},
    ),
    "Roboflow without YAML": (ROBOFLOW, {"classes.txt": "dog\ncat"}),
    "Windows": (ROBOFLOW, {"data.yaml": YAML + "train: train\\images\nval: C:\\Users\\me\\set\\valid\\images\n"}),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(tmp_path: Path, layout: str) -> None:
    pictures, description = LAYOUTS[layout]
    root = write_files(tmp_path / "set", {**pictures, **description})
    assert detect_format(root) == "yolo"
    records, findings = read(root)
    assert [Path(path).stem for path in records.paths] == ["a", "b"]
    assert records.image_ids.tolist() == [1, 2]
    assert records.labels == LabelSet(("dog", "cat"), (1, 2))
    assert records.sizes_hw.tolist() == [[40, 60]] * 2
    assert records.boxes.tolist() == [[15, 0, 45, 20]] * 2
    assert records.areas.tolist() == [600, 600]
    assert [problem.kind for problem in findings.problems if problem.kind is not Kind.STALE_PATH] == []
    validation, _ = read(root, "val")
    assert [Path(path).name for path in validation.paths] == ["c.jpg"]


def test_pictures_without_splits(tmp_path: Path) -> None:
    pairs = {f"images/{i}.jpg": "" for i in range(5)} | {f"labels/{i}.txt": BOX for i in range(4)}
    write_files(tmp_path / "pair", pairs | {"classes.txt": "dog"})
    mixed = {f"{i}.jpg": "" for i in range(5)} | {f"{i}.txt": BOX for i in range(4)}
    write_files(tmp_path / "beside", mixed | {"classes.txt": "dog", "README.txt": "five pictures of dogs"})
    for folder in ("pair", "beside"):
        root = tmp_path / folder
        assert detect_format(root) == "yolo"
        assert list(find_splits(root, "yolo")) == ["train"]
        splits = {split: read_records(config.Data(root=root), split, seed=0) for split in ("train", "val")}
        assert [len(splits["train"]), len(splits["val"])] == [4, 1], "a share is held out"
        assert splits["train"].notes == ("no validation split: 1 of 5 training pictures held out (seed 0)",)
        assert sum(len(records.boxes) for records in splits.values()) == 4, "no label file: no objects"


def test_splits_of_pictures_beside_their_labels(tmp_path: Path) -> None:
    write_files(
        tmp_path, {"train/a.jpg": "", "train/a.txt": BOX, "val/b.jpg": "", "val/b.txt": BOX, "classes.txt": "a"}
    )
    assert len(read(tmp_path)[0]) == len(read(tmp_path, "val")[0]) == 1


def test_captions_and_masks_are_no_labels(tmp_path: Path) -> None:
    write_files(tmp_path / "captions", {"a.jpg": "", "a.txt": "a dog and a cat on a sofa"})
    write_files(tmp_path / "masks", {"images/train/a.jpg": "", "labels/train/a.png": ""})
    for folder in ("captions", "masks"):
        assert find_splits(tmp_path / folder, "yolo") == {}


def test_names_are_made_up_from_all_splits(tmp_path: Path) -> None:
    files = {**ULTRALYTICS, "labels/val/c.txt": "3 0.5 0.5 0.1 0.1\n", "labels/train/a.txt": "broken\n"}
    records, findings = read(write_files(tmp_path, files))
    assert records.labels.names == ("class 0", "class 1", "class 2", "class 3")
    (note,) = [problem for problem in findings.problems if problem.kind is Kind.NAMELESS_CLASSES]
    assert "go up to class 3: write their names into classes.txt" in note.message


def test_classes_are_matched_by_name(tmp_path: Path) -> None:
    write_files(tmp_path, {**ULTRALYTICS, "classes.txt": "dog\ncat"})
    (tmp_path / "labels/train/a.txt").write_text("1 0.5 0.5 0.5 0.5\n0 0.5 0.5 0.5 0.5\n")
    wanted = LabelSet(("ant", "cat"), (7, 9))
    records, findings = read(tmp_path, labels=wanted)
    assert (records.labels, records.box_labels.tolist()) == (wanted, [1])
    assert [str(problem).removeprefix(f"{tmp_path}/") for problem in findings.problems] == [
        'labels/train/a.txt:2: class 0 "dog" is not among the classes of the model',
        'labels/train/sub/b.txt:1: class 0 "dog" is not among the classes of the model',
    ]


@pytest.mark.parametrize(
    ("line", "box", "area"),
    [
        ("0 0.25 0.25 0.75 0.25 0.75 0.75", (15, 10, 45, 30), 300),  # a right triangle: half of its box
        ("0 0 0 1 0 1 1 0 1", (0, 0, 60, 40), 2400),
        ("0 0.5 0.5 1.0005 1.001", (0, 0, 60, 40), 2400),  # rounded
        ("0.000e+00 5.0e-1 5.0e-1 5.0e-1 5.0e-1", (15, 10, 45, 30), 600),  # as numpy writes it
        ("0\t0.5  0.5 0.5 0.5  ", (15, 10, 45, 30), 600),
    ],
)
def test_lines(tmp_path: Path, line: str, box: tuple[float, ...], area: float) -> None:
    files = {"images/train/a.jpg": "", "labels/train/a.txt": f"\ufeff{line}\r\n\r\n", "classes.txt": "dog"}
    records, findings = read(write_files(tmp_path, files))
    assert findings.problems == []
    assert records.boxes[0] == pytest.approx(box)
    assert records.areas[0] == pytest.approx(area)


def test_keypoints_are_no_polygons(tmp_path: Path) -> None:
    yaml = "names: [dog]\nkpt_shape: [2, 2]\ntrain: images/train\n"
    label = "0 0.5 0.5 0.5 0.5 0.1 0.1 0.9 0.9\n"
    records, _ = read(write_files(tmp_path, {"images/train/a.jpg": "", "labels/train/a.txt": label, "data.yaml": yaml}))
    assert records.boxes.tolist() == [[15, 10, 45, 30]]


def test_sizes_are_those_of_the_upright_picture(tmp_path: Path) -> None:
    write_files(tmp_path, {"images/train/a.jpg": "", "labels/train/a.txt": BOX, "classes.txt": "dog"})
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (60, 40)).save(tmp_path / "images/train/a.jpg", exif=exif)
    records, _ = read(tmp_path)
    assert (records.sizes_hw.tolist(), records.boxes.tolist()) == ([[60, 40]], [[10, 0, 30, 30]])


BROKEN_LINES: list[tuple[str, Kind, str]] = [
    ("0 0.5 0.5 0.5", Kind.LABEL_COLUMNS, "4 columns, where 5 are due"),
    ("0,0.5,0.5,0.5,0.5", Kind.LABEL_COLUMNS, "separated by spaces"),
    ("0 0.5 0.5 0.5 0.5 0.9", Kind.LABEL_COLUMNS, "a prediction file with confidence? Drop the last"),
    ("0 0.1 0.1 0.2 0.2 0.3 0.3 0.4", Kind.LABEL_COLUMNS, "8 columns"),
    ("0 0.5 0.5 0.5 wide", Kind.MALFORMED_BOX, "not all of it is numbers"),
    ("dog 0.5 0.5 0.5 0.5", Kind.MALFORMED_BOX, "not all of it is numbers"),
    ("0 0.5 nan 0.5 0.5", Kind.MALFORMED_BOX, "finite"),
    ("0.5 0.5 0.5 0.5 0.5", Kind.MALFORMED_CLASS, "class 0.5 is none of 0, 1, 2"),
    ("-1 0.5 0.5 0.5 0.5", Kind.MALFORMED_CLASS, "class -1 is none of"),
    ("2 0.5 0.5 0.5 0.5", Kind.UNKNOWN_CLASS, "class 2, but there are 2 classes, 0 to 1"),
    ("0 320 240 100 80", Kind.PIXEL_LABEL, "divide x and w by the picture's width"),
    ("0 1.2 0.5 0.1 0.1", Kind.OUTSIDE_SHARE, "between 0 and 1"),
    ("0 0.5 0.5 -0.1 0.1", Kind.OUTSIDE_SHARE, "between 0 and 1"),
    ("0 0.9 0.5 0.4 0.1", Kind.CLIPPED_BOX, "box from (42, 18) to (66, 22) in a picture of 60 x 40"),
    ("0 0.5 0.5 0 0.1", Kind.EMPTY_BOX, "box from (30, 18) to (30, 22)"),
    ("0 0.5 0.5 0.5 0.5", Kind.REPEATED_LINE, "the same as line 1"),
]


@pytest.mark.parametrize(("line", "kind", "message"), BROKEN_LINES)
def test_a_broken_line_is_named_and_the_others_are_read(tmp_path: Path, line: str, kind: Kind, message: str) -> None:
    label = f"0 0.5 0.5 0.5 0.5\n\n{line}\n1 0.25 0.25 0.5 0.5\n"
    files = {"images/train/a.jpg": "", "labels/train/a.txt": label, "classes.txt": "dog\ncat"}
    records, findings = read(write_files(tmp_path, files))
    (problem,) = findings.problems
    assert (problem.kind, problem.file, problem.line) == (kind, tmp_path / "labels/train/a.txt", 3)
    assert message in problem.message
    kept = [1] if kind is Kind.CLIPPED_BOX else []
    assert len(records.boxes) == 2 + len(kept)
    assert records.box_labels.tolist() == [0, *([0] * len(kept)), 1]


def not_utf8(root: Path) -> None:
    (root / "labels/train/a.txt").write_bytes(BOX.encode("utf-16"))


def unreadable(root: Path) -> None:
    (root / "images/train/a.jpg").write_bytes(b"no picture")


def clash(root: Path) -> None:
    shutil.copy(root / "images/train/a.jpg", root / "images/train/a.png")


def orphan(root: Path) -> None:
    write_files(root, {"labels/train/gone.txt": BOX, "labels/train/readme.txt": "not a label", "labels/val/d.txt": BOX})


def missing_in_listing(root: Path) -> None:
    write_files(
        root,
        {
            "data.yaml": YAML + "train: train.txt\n",
            "train.txt": "images/train/sub/b.png\nimages/train/z.jpg\nimages/train/sub/b.png\n",
        },
    )


@pytest.mark.parametrize(
    ("damage", "expected", "left"),
    [
        (not_utf8, [(Kind.BROKEN_LABEL, "labels/train/a.txt", None, "save it as UTF-8")], ["b.png"]),
        (unreadable, [(Kind.UNREADABLE_PICTURE, "images/train/a.jpg", None, "not a readable picture")], ["b.png"]),
        (clash, [(Kind.CLASHING_STEMS, "images/train/a.jpg", None, "a.jpg, a.png share the label file")], ["b.png"]),
        (
            orphan,
            [(Kind.ORPHAN_LABEL, "labels/train/gone.txt", None, "no picture gone.* in")],
            ["a.jpg", "b.png"],
        ),
        (
            missing_in_listing,
            [
                (Kind.REPEATED_NAME, "train.txt", 3, "stands in line 1 too"),
                (Kind.MISSING_PICTURE, "train.txt", 2, "z.jpg does not exist"),
            ],
            ["b.png"],
        ),
    ],
)
def test_a_broken_file_is_named_and_the_others_are_read(
    tmp_path: Path, damage: Callable[[Path], None], expected: list[tuple[Kind, str, int | None, str]], left: list[str]
) -> None:
    write_files(tmp_path, {**ULTRALYTICS, "classes.txt": "dog\ncat"})
    damage(tmp_path)
    records, findings = read(tmp_path)
    found = [(p.kind, p.file.relative_to(tmp_path).as_posix(), p.line) for p in findings.problems]
    assert found == [entry[:3] for entry in expected]
    assert all(message in p.message for p, (*_, message) in zip(findings.problems, expected, strict=True))
    assert [Path(path).name for path in records.paths] == left


@pytest.mark.parametrize(
    ("description", "kind", "line", "message", "names"),
    [
        ("train: images/train\nnc: 80\nnames: [dog, cat]\n", Kind.CLASS_COUNT, 2, "set nc: 2", ["dog", "cat"]),
        ("train: images/train\nnames: [dog, no]\n", Kind.UNCLEAR_CLASS, 2, "in quotes", ["dog", "class 1"]),
        ("names: [dog, dog]\ntrain: images/train\n", Kind.UNCLEAR_CLASS, 1, '"dog" is class 0 too', ["dog", "class 1"]),
        ("names: {0: dog, 2: cat}\ntrain: images/train\n", Kind.UNCLEAR_CLASS, 1, "None is no name", ["dog", "class 1", "cat"]),
        ("nc: 2\ntrain: images/train\n", Kind.NAMELESS_CLASSES, None, "add names", ["class 0", "class 1"]),
        ("train: images/train\nval: x\n", Kind.NAMELESS_CLASSES, None, "add names", ["class 0"]),
        ("path: /elsewhere/set\ntrain: images/train\nnames: [dog]\n", Kind.STALE_PATH, 1, "/elsewhere/set does not exist here", ["dog"]),
        ("names: [dog]\ntrain: /elsewhere/set/images/train\n", Kind.STALE_PATH, 2, "images/train is taken", ["dog"]),
    ],
)  # fmt: skip
def test_data_yaml_that_is_not_quite_right(
    tmp_path: Path, description: str, kind: Kind, line: int | None, message: str, names: list[str]
) -> None:
    records, findings = read(write_files(tmp_path, {**ULTRALYTICS, "data.yaml": description}))
    (problem,) = findings.problems
    assert (problem.kind, problem.file.name, problem.line) == (kind, "data.yaml", line)
    assert message in problem.message
    assert list(records.labels.names) == names
    assert len(records) == 2


def test_an_empty_line_of_classes_txt_is_named(tmp_path: Path) -> None:
    records, findings = read(write_files(tmp_path, {**ULTRALYTICS, "classes.txt": "dog\n\ncat\n\n"}))
    assert records.labels.names == ("dog", "class 1", "cat")
    assert [(p.kind, p.line, p.entry) for p in findings.problems] == [(Kind.UNCLEAR_CLASS, 2, "class 1")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data.yaml": "names: [dog\n"}, r"data.yaml:2: not readable as YAML"),
        ({"data.yaml": "- dog\n"}, r"data.yaml: holds no keys"),
        ({"data.yaml": "train: images/nowhere\nnames: [dog]\n"}, r"data.yaml: \S*images/nowhere does not exist"),
        ({"data.yaml": "train: 5\nnames: [dog]\n"}, r"data.yaml:1: train: 5 is not a folder, a list of folders"),
        ({"data.yaml": "train: images/train\nnames: dogs.txt\n"}, r"data.yaml:2: names is neither a list"),
        ({"classes.txt": ""}, r"classes.txt: no names"),
        ({"labels/train/a.txt": "9999999 0.5 0.5 0.1 0.1"}, r"go up to class 9999999; write their names"),
        ({"data.yaml": "train: train.txt\nnames: [dog]", "train.txt": "x.jpg\n"}, r"train.txt: none of its 1 pictures"),
    ],
)
def test_refuses_what_leaves_nothing_to_read(tmp_path: Path, changes: Mapping[str, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(write_files(tmp_path, {**ULTRALYTICS, **changes}))


def test_refuses_a_split_without_any_label_or_picture(tmp_path: Path) -> None:
    write_files(tmp_path, {**ULTRALYTICS, "data.yaml": YAML + "train: images/train\nval: images/val\n"})
    (tmp_path / "labels/val/c.txt").unlink()
    with pytest.raises(DataError, match=r"none of 1 pictures has a label file; that of \S+c.jpg would be \S+val/c.txt"):
        read(tmp_path, "val")
    (tmp_path / "images/val/c.jpg").unlink()
    with pytest.raises(DataError, match=r"no pictures in \S+images/val"):
        read(tmp_path, "val")


def test_refuses_to_guess_between_folders_and_files(tmp_path: Path) -> None:
    write_files(tmp_path / "a", {**ULTRALYTICS, "images/train2017/x.jpg": "", "labels/train2017/x.txt": BOX})
    with pytest.raises(DataError, match=r"several folders for split train .*choose with data.train.annotations"):
        find_splits(tmp_path / "a", "yolo")
    write_files(tmp_path / "b", dict.fromkeys(("one.yaml", "two.yaml"), YAML + "train: images/train\n"))
    with pytest.raises(DataError, match=r"several files describe YOLO data \(one.yaml, two.yaml\)"):
        find_splits(tmp_path / "b", "yolo")


def test_explicit_places(tmp_path: Path) -> None:
    root = write_files(tmp_path / "set", {**ULTRALYTICS, "classes.txt": "dog\ncat"})
    write_files(tmp_path / "more", {"pictures/x.jpg": "", "texts/x.txt": BOX, "texts/classes.txt": "cat\ndog"})
    settings = [
        ({"annotations": root / "labels/train"}, ["a.jpg", "b.png"], ("dog", "cat")),
        ({"annotations": tmp_path / "more/texts", "images": tmp_path / "more/pictures"}, ["x.jpg"], ("cat", "dog")),
    ]
    for split, pictures, names in settings:
        records = read_records(config.Data(test=config.Split.model_validate(split)), "test", seed=0)
        assert [Path(path).name for path in records.paths] == pictures
        assert records.labels.names == names
        assert len(records.boxes) == len(pictures)
    write_files(root, {"data.yaml": YAML + "train: images/train\nval: images/val\n"})
    named = config.Data(val=config.Split(annotations=root / "data.yaml"))
    assert [Path(path).name for path in read_records(named, "val", seed=0).paths] == ["c.jpg"]
    for wrong, message in (
        ({"annotations": tmp_path / "more/texts"}, r"no pictures in \S+; name their folder with data.test.images"),
        ({"annotations": root / "data.yaml"}, r"data.yaml: no test; add `test: FOLDER`"),
    ):
        with pytest.raises(DataError, match=message):
            read_records(config.Data(test=config.Split.model_validate(wrong)), "test", seed=0)


def test_coco_wins_over_a_copy_as_yolo_and_says_so(tmp_path: Path) -> None:
    write_coco_set(tmp_path)
    write_files(tmp_path, {"labels/train2017/seven.txt": BOX, "classes.txt": "dog"})
    records = read_records(config.Data(root=tmp_path, validation_share=0.5), "train", seed=0)
    assert records.labels.names == ("dog", "mug")
    assert f"{tmp_path} holds yolo annotations too; coco is read (data.format=yolo changes it)" in records.notes
    write_files(tmp_path, {"images/val2017/x.jpg": "", "labels/val2017/x.txt": BOX})
    with pytest.raises(DataError, match=r"holds coco and yolo annotations; choose with data.format=coco"):
        detect_format(tmp_path)


@pytest.mark.parametrize(("split", "pictures", "boxes"), [("train", 26, 181), ("val", 27, 173)])
def test_real_pictures_as_coco_and_as_yolo_give_the_same_records(
    shared_data: Path, split: str, pictures: int, boxes: int
) -> None:
    root = shared_data / "coco53"
    coco, yolo = (read_records(config.Data(root=root, format=kind), split, seed=0) for kind in ("coco", "yolo"))
    coco = coco.select(np.argsort(coco.paths))
    assert (len(yolo), len(yolo.boxes)) == (pictures, boxes)
    assert yolo.notes == ()
    assert yolo.labels.names == coco.labels.names
    for column in ("paths", "sizes_hw", "offsets", "crowd"):
        np.testing.assert_array_equal(getattr(yolo, column), getattr(coco, column))
    for i in range(pictures):
        ours, theirs = (
            records[i].boxes[np.lexsort([*records[i].boxes.T.round(), records[i].labels])] for records in (yolo, coco)
        )
        np.testing.assert_allclose(ours, theirs, atol=0.01)  # six decimals of 640 pixels, and COCO's two
        assert sorted(yolo[i].labels) == sorted(coco[i].labels)
        np.testing.assert_allclose(sorted(yolo[i].areas), sorted(coco[i].areas), rtol=1e-2, atol=1)
