"""Pascal VOC reader: pixel convention, ignore regions, labels, and what it refuses."""

import shutil
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from dinotune import config
from dinotune.data.formats import detect_format
from dinotune.data.formats.voc import read as voc
from dinotune.data.formats.voc.layout import find_voc
from dinotune.data.problems import Findings
from dinotune.data.records import LabelSet
from dinotune.data.splits import read_records
from dinotune.errors import DataError
from tests.data.small_sets import voc_objects, write_coco_set, write_picture, write_voc_set


def write_usual(root: Path) -> config.Data:
    objects = {
        "b": [("dog", (1, 1, 60, 40)), ("cat?", (11, 6, 30, 15))],
        "a": [("cat", (3, 4, 3, 9)), ("cat", (21, 11, 65, 20))],
        "unlisted": [("ant", (1, 1, 2, 2))],
    }
    write_voc_set(root, objects, {"train": ["b", "a"], "val": ["a"]})
    return config.Data(root=root)


def test_pixels_are_one_based_and_inclusive(tmp_path: Path) -> None:
    data = write_usual(tmp_path)
    assert detect_format(tmp_path) == "voc"
    records = read_records(data, "train", seed=0)
    assert records.labels == LabelSet(("ant", "cat", "dog"), (1, 2, 3)), "names of all files, sorted"
    assert records.image_ids.tolist() == [1, 2]
    assert records[0].path.name == "b.jpg", "the XML's stem decides, not its `filename`"
    assert records[0].boxes.tolist() == [[0, 0, 60, 40], [10, 5, 30, 15]]
    assert records[0].crowd.tolist() == [False, True], "difficult objects are ignore regions"
    assert records[0].areas.tolist() == [2400, 200]


@pytest.mark.parametrize(
    ("annotations", "pictures", "splits"),
    [
        ("Annotations", "JPEGImages", ["train"]),
        ("annotations", "images", ["train"]),
        ("Annotations", ".", ["train"]),
        ("labels", "images", ["train"]),
        (".", ".", ["train"]),
        (".", "images", ["train"]),
        ("train", "train", ["train"]),
        ("valid", "valid", ["val"]),
        ("train/Annotations", "train/images", ["train"]),
        ("annotations/train", "images/train", ["train"]),
    ],
)
def test_folders_without_lists_of_splits_are_found(
    tmp_path: Path, annotations: str, pictures: str, splits: list[str]
) -> None:
    usual, root = tmp_path / "usual", tmp_path / "loose"
    write_voc_set(usual, {"b": [("dog", (1, 1, 60, 40))], "a": []}, {"train": ["b", "a"]})
    (root / annotations).mkdir(parents=True, exist_ok=True)
    (root / pictures).mkdir(parents=True, exist_ok=True)
    for stem in ("a", "b"):
        (usual / f"Annotations/{stem}.xml").rename(root / annotations / f"{stem}.xml")
        (usual / f"JPEGImages/{stem}.jpg").rename(root / pictures / f"{stem}.jpg")
    assert detect_format(root) == "voc"
    assert list(find_voc(root)) == splits
    records = read_records(config.Data(root=root, format="voc", validation_share=0.5), splits[0], seed=0)
    assert {Path(path).parent for path in records.paths} == {root / pictures}
    assert records.labels.names == ("dog",)


def test_splits_in_folders_share_their_classes(tmp_path: Path) -> None:
    for split, name in (("train", "dog"), ("valid", "ant")):
        write_voc_set(tmp_path / split, {f"{split}0": [(name, (1, 1, 60, 40))]}, {"train": [f"{split}0"]})
        shutil.rmtree(tmp_path / split / "ImageSets")
        (tmp_path / split / "Annotations/._hidden.xml").write_bytes(b"\x00\x05")
    data = config.Data(root=tmp_path)
    train = read_records(data, "train", seed=0)
    assert train.labels.names == ("ant", "dog")
    val = read_records(data, "val", seed=0, labels=train.labels)
    assert (len(val), val.box_labels.tolist()) == (1, [0])


def test_leftover_xml_files_do_not_hide_another_format(tmp_path: Path) -> None:
    root = write_coco_set(tmp_path).parent.parent
    assert detect_format(root) == "coco"
    (root / "annotations/seven.xml").write_text("<annotation><object><name>dog</name></object></annotation>")
    assert list(find_voc(root)) == ["train"]
    assert detect_format(root) == "coco"


def test_xml_files_of_other_programs_are_no_annotations(tmp_path: Path) -> None:
    (tmp_path / "project.xml").write_text("<?xml version='1.0'?><project/>")
    assert find_voc(tmp_path) == {}


def test_slips_are_left_out_and_overhang_clipped(tmp_path: Path) -> None:
    records = read_records(write_usual(tmp_path), "val", seed=0)
    assert records.boxes.tolist() == [[20, 10, 60, 20]]
    empty, beyond = records.notes
    file = tmp_path / "Annotations/a.xml"
    assert empty.startswith(f"1 × box without an area, left out: {file}:4 (cat): box from (2, 3) to (2, 8)")
    assert beyond.startswith(f"1 × box reaching beyond the picture, clipped: {file}:8 (cat): box from")


@pytest.mark.parametrize("size", ["", "<size><width>0</width><height>0</height></size>"])
def test_size_comes_from_the_picture_where_absent(tmp_path: Path, size: str) -> None:
    data = write_usual(tmp_path)
    file = tmp_path / "Annotations/a.xml"
    file.write_text(file.read_text().replace("<size><width>60</width><height>40</height><depth>3</depth></size>", size))
    assert read_records(data, "val", seed=0).sizes_hw.tolist() == [[40, 60]]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<xmin>21</xmin>", "<xmin>left</xmin>", r"a.xml:10 \(cat\): xmin 'left', ymin '11'"),
        ("<xmin>21</xmin>", "", r"a.xml:10 \(cat\): xmin '', ymin"),
        ("<xmin>21</xmin>", "<xmin>1e300</xmin>", r"a.xml:10 \(cat\): xmin '1e300'"),
        (
            "<annotation>",
            "<?xml version='1.0' encoding='oops'?><annotation>",
            r"a.xml: not readable as XML: unknown enc",
        ),
        ("</annotation>", "", r"a.xml:12: not readable as XML: no element found: line \d+"),
    ],
)
def test_refuses(tmp_path: Path, old: str, new: str, message: str) -> None:
    data = write_usual(tmp_path)
    file = tmp_path / "Annotations/a.xml"
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(DataError, match=message):
        read_records(data, "val", seed=0)


def test_missing_files_are_named(tmp_path: Path) -> None:
    data = write_usual(tmp_path)
    (tmp_path / "JPEGImages/a.jpg").unlink()
    with pytest.raises(DataError, match=r"a.xml: no picture a\.\* in .*JPEGImages"):
        read_records(data, "train", seed=0)
    (tmp_path / "Annotations/a.xml").unlink()
    with pytest.raises(DataError, match=r"train.txt:2: there is no .*Annotations/a.xml"):
        read_records(data, "train", seed=0)


def test_clashing_stems_are_settled_by_the_file_name_or_refused(tmp_path: Path) -> None:
    data = write_usual(tmp_path)
    write_picture(tmp_path / "JPEGImages/a.png")
    with pytest.raises(DataError, match=r"a.jpg, a.png in .* share a stem"):
        read_records(data, "val", seed=0)
    file = tmp_path / "Annotations/a.xml"
    file.write_text(file.read_text().replace("stale.jpg", "a.png"))
    assert read_records(data, "val", seed=0)[0].path.name == "a.png"


def test_files_beside_the_pictures_that_are_none_do_not_count(tmp_path: Path) -> None:
    data = write_usual(tmp_path)
    for stem in ("a", "b"):
        (tmp_path / f"JPEGImages/{stem}.xml").write_text("<annotation/>")
        (tmp_path / f"JPEGImages/{stem}.jpg").rename(tmp_path / f"JPEGImages/{stem}.JPG")
    assert [Path(path).name for path in read_records(data, "train", seed=0).paths] == ["b.JPG", "a.JPG"]
    (tmp_path / "JPEGImages/a.JPG").unlink()
    with pytest.raises(DataError, match=r"a.xml: no picture a\.\*"):
        read_records(data, "train", seed=0)


def test_every_file_is_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, parse = write_usual(tmp_path), voc._parse
    parsed: list[str] = []

    def counted(file: Path, findings: Findings) -> ElementTree.Element | None:
        parsed.append(file.name)
        return parse(file, findings)

    monkeypatch.setattr(voc, "_parse", counted)
    read_records(data, "train", seed=0)
    assert sorted(parsed) == ["a.xml", "b.xml", "unlisted.xml"]


def test_unknown_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r'b.xml:4: class "dog" is not among cat'):
        read_records(write_usual(tmp_path), "train", seed=0, labels=LabelSet(("cat",), (1,)))


def test_repeated_names_count_once(tmp_path: Path) -> None:
    data = write_usual(tmp_path)
    (tmp_path / "ImageSets/Main/val.txt").write_text("a\nb\na\n\n")
    records = read_records(data, "val", seed=0)
    assert [record.path.stem for record in (records[0], records[1])] == ["a", "b"]
    (note,) = (note for note in records.notes if "name that is listed twice" in note)
    assert note.startswith("1 × ")
    assert note.endswith("val.txt:3: a stands in line 1 too")


@pytest.mark.parametrize(("split", "pictures"), [("train", 205), ("val", 87), ("test", 72)])
def test_blood_cells_agree_with_the_standard_library(shared_data: Path, split: str, pictures: int) -> None:
    root = shared_data / "bccd"
    records = read_records(config.Data(root=root), split, seed=0)
    assert len(records) == pictures
    written = [entry for entry in voc_objects(root, split) if entry[2][2] > entry[2][0] and entry[2][3] > entry[2][1]]
    names = [records.labels.names[label] for label in records.box_labels]
    assert names == [name for _, name, _ in written]
    np.testing.assert_array_equal(records.boxes + np.array([1, 1, 0, 0]), [corners for _, _, corners in written])
    stems = np.repeat([Path(path).stem for path in records.paths], np.diff(records.offsets))
    assert stems.tolist() == [stem for stem, _, _ in written]


def test_blood_cells_have_4888_objects_of_which_two_are_slips(shared_data: Path) -> None:
    root = shared_data / "bccd"
    splits = ("train", "val", "test")
    records = [read_records(config.Data(root=root), split, seed=0) for split in splits]
    assert sum(len(voc_objects(root, split)) for split in splits) == 4888
    assert sum(len(split.boxes) for split in records) == 4886
    notes = "".join(note for split in records for note in split.notes)
    assert "BloodImage_00343.xml:50" in notes
    assert "BloodImage_00338.xml:158" in notes
    # The convention, read off the data: no coordinate is 0, hundreds touch 1 and the far side.
    boxes = np.concatenate([split.boxes for split in records])
    assert (boxes[:, 0] == 0).sum() == 237
    assert (boxes[:, 2] == 640).sum() == 237
