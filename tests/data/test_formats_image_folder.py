"""ImageFolder: classes are folders; what is none, and what is broken, is told."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from dinotune import config
from dinotune.data import formats
from dinotune.data.problems import Findings, Kind
from dinotune.data.records import LabelSet
from dinotune.data.splits import read_records
from dinotune.errors import DataError
from tests.class_folders import COLOURS, draw_class_folders


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return draw_class_folders(tmp_path / "data", train=4, val=2)


def read(root: Path, split: str, findings: Findings | None = None, labels: LabelSet | None = None):  # type: ignore[no-untyped-def]
    place = formats.find_splits(root, "image_folder")[split]
    return formats.READERS["image_folder"](place, split, labels, findings or Findings())


def test_clothing_as_it_is(shared_data: Path) -> None:
    """Counts by `find`: 341 and 372 pictures of 10 classes."""
    data = config.Data(root=shared_data / "clothing")
    train, val = (read_records(data, split, seed=0) for split in ("train", "val"))
    assert (len(train), len(val), len(train.labels)) == (341, 372, 10)
    assert train.labels == val.labels
    for records in (train, val):
        assert records.has == "classes"
        folders = [Path(path).parent.name for path in records.paths.tolist()]
        assert [records.labels.names[label] for label in records.image_labels.tolist()] == folders  # type: ignore[union-attr]


def test_folders_are_classes_in_order_of_their_names(root: Path) -> None:
    records = read(root, "train")
    assert records.labels == LabelSet(tuple(sorted(COLOURS)), (1, 2, 3))
    assert records.image_labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert records.sizes_hw[:2].tolist() == [[64, 64], [64, 96]]
    assert records[5].image_label == 1
    assert len(records.boxes) == 0


def test_a_folder_without_splits_holds_validation_pictures_out(root: Path) -> None:
    data = config.Data(root=root / "train", validation_share=0.25)
    train, val = (read_records(data, split, seed=0) for split in ("train", "val"))
    assert (len(train), len(val)) == (9, 3)
    assert sorted(val.image_labels.tolist()) == [0, 1, 2], "stratified"  # type: ignore[union-attr]
    assert not set(train.paths) & set(val.paths)


def test_problems_are_named(root: Path) -> None:
    (root / "val/pink").mkdir()
    Image.new("RGB", (8, 8)).save(root / "val/pink/1.png")
    (root / "val/red/0.png").write_bytes(b"<html>")
    findings = Findings()
    records = read(root, "val", findings, read(root, "train").labels)
    assert len(records) == 5
    assert {problem.kind: problem.file.name for problem in findings.problems} == {
        Kind.UNKNOWN_CLASS: "pink",
        Kind.UNREADABLE_PICTURE: "0.png",
    }


def test_deeper_folders_belong_to_their_class(root: Path) -> None:
    (root / "train/red/more").mkdir()
    (root / "train/red/0.png").rename(root / "train/red/more/0.png")
    assert read(root, "train").image_labels.tolist().count(2) == 4


@pytest.mark.parametrize("names", [("images", "labels"), ("images", "masks"), ("only",), ()])
def test_other_folders_are_no_classes(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / name / "1.png")
    assert formats.find_splits(tmp_path, "image_folder") == {}


@pytest.mark.parametrize("name", ["bccd", "nuclei", "coco53"])
def test_detection_data_sets_are_what_they_were(shared_data: Path, name: str) -> None:
    assert formats.find_splits(shared_data / name, "image_folder") == {}


def test_what_is_written_is_read_again(root: Path, tmp_path: Path) -> None:
    splits = {split: read(root, split) for split in ("train", "val")}
    assert formats.WRITERS["image_folder"](splits, tmp_path / "out", "copy") == ()
    for split, records in splits.items():
        again = read(tmp_path / "out", split)
        assert again.image_labels.tolist() == records.image_labels.tolist()
        assert [Path(path).name for path in again.paths] == [Path(path).name for path in records.paths]
    with pytest.raises(DataError, match="copy or link"):
        formats.WRITERS["image_folder"](splits, tmp_path / "none", "none")


@pytest.mark.parametrize("name", ["train", "masks", "test", "labels", "runs"])
def test_a_class_may_have_any_name_inside_a_split(root: Path, name: str) -> None:
    (root / "train/red").rename(root / "train" / name)
    assert name in read(root, "train").labels.names


def test_a_split_with_one_class_or_a_stray_picture_is_still_a_split(root: Path) -> None:
    for name in ("blue", "green"):
        shutil.rmtree(root / "val" / name)
    Image.new("RGB", (8, 8)).save(root / "val/montage.jpg")
    findings = Findings()
    assert len(read(root, "val", findings, read(root, "train").labels)) == 2
    assert [(p.kind, p.file.name) for p in findings.problems] == [(Kind.ORPHAN_PICTURE, "montage.jpg")]
