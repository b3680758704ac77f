"""Class lists in the forms in which they are found; what is wrong in a line is told with its number."""

import shutil
from pathlib import Path

import pytest

from dinotune import config
from dinotune.data import formats
from dinotune.data.formats.base import SplitPlace
from dinotune.data.problems import FileError, Findings, Kind
from dinotune.data.records import LabelSet, Records
from dinotune.data.splits import read_records
from tests.class_folders import COLOURS, draw_class_folders


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    return draw_class_folders(tmp_path / "folders", train=3, val=2)


@pytest.fixture
def root(folders: Path, tmp_path: Path) -> Path:
    """The same data set as lists."""
    data = config.Data(root=folders)
    splits = {split: read_records(data, split, seed=0) for split in ("train", "val")}
    assert formats.WRITERS["class_list"](splits, tmp_path / "lists", "copy") == ()
    return tmp_path / "lists"


def classes(records: Records) -> list[str]:
    assert records.image_labels is not None
    return [records.labels.names[label] for label in records.image_labels.tolist()]


def read(root: Path, split: str, labels: LabelSet | None = None) -> tuple[Records, Findings]:
    findings = Findings()
    place = formats.find_splits(root, "class_list")[split]
    return formats.READERS["class_list"](place, split, labels, findings), findings


def test_what_is_written_is_read_again(root: Path, folders: Path) -> None:
    assert formats.detect_format(root) == "class_list"
    for split in ("train", "val"):
        again = read_records(config.Data(root=root), split, seed=0)
        before = read_records(config.Data(root=folders), split, seed=0)
        assert (classes(again), again.labels) == (classes(before), before.labels)
        assert again.sizes_hw.tolist() == before.sizes_hw.tolist()


@pytest.mark.parametrize("pictures", ["none", "link"])
def test_pictures_may_stay_where_they_are(folders: Path, tmp_path: Path, pictures: formats.Pictures) -> None:
    splits = {"train": read_records(config.Data(root=folders), "train", seed=0)}
    formats.WRITERS["class_list"](splits, tmp_path / "out", pictures)
    again = read_records(config.Data(root=tmp_path / "out", train=config.Split(limit=9)), "train", seed=0)
    assert set(classes(again)) == set(COLOURS)


@pytest.mark.parametrize(
    "text",
    [
        "file,class\nblue/0.png,blue\nred/1.png,red\n",
        "blue/0.png,blue\nred/1.png,red\n",
        "label;path\nblue;blue/0.png\nred;red/1.png\n",
        "blue/0.png\tblue\nred/1.png\tred\n",
        "\ufeffblue/0.png blue\nred/1.png red\n\n",
        "ImageId,PredictionString\nblue/0,blue 1 2 30 40 \nred/1,red 3 4 5 6\n",
    ],
)
def test_every_form_says_the_same(folders: Path, text: str) -> None:
    (folders / "train.csv").write_text(text, encoding="utf-8")
    records, findings = read(folders, "train")
    assert findings.problems == []
    assert [(Path(path).name, name) for path, name in zip(records.paths, classes(records), strict=True)] == [
        ("0.png", "blue"),
        ("1.png", "red"),
    ]


def test_imagenet_has_folders_to_train_and_a_list_to_validate(folders: Path) -> None:
    for name in COLOURS:
        (folders / f"val/{name}/0.png").rename(folders / f"val/{name}_0.png")
        shutil.rmtree(folders / "val" / name)
    (folders / "LOC_val_solution.csv").write_text(
        "ImageId,PredictionString\n" + "".join(f"{name}_0,{name} 1 1 9 9\n" for name in COLOURS)
    )
    data = config.Data(root=folders)
    assert formats.detect_format(folders) == "image_folder"
    val = read_records(data, "val", seed=0, labels=read_records(data, "train", seed=0).labels)
    assert classes(val) == list(COLOURS)


def test_numbers_are_indices_of_known_classes(folders: Path) -> None:
    (folders / "val.txt").write_text("blue/0.png 0\nred/0.png 2\n")
    known = LabelSet(tuple(COLOURS), (1, 2, 3))
    records, findings = read(folders, "val", known)
    assert (classes(records), findings.problems) == (["blue", "red"], [])
    alone, _ = read(folders, "val")
    assert alone.labels == LabelSet(("0", "2"), (0, 2))


@pytest.mark.parametrize("text", ["blue/0.png 1\nred/0.png 3\n", "blue/0.png 0\nred/0.png 3\n"])
def test_indices_that_cannot_be_those_of_the_classes_are_refused_whole(folders: Path, text: str) -> None:
    """Counted from 1, each picture would get its neighbour's class."""
    (folders / "val.txt").write_text(text)
    with pytest.raises(
        FileError, match=r"indices of 3 classes run from 0 to 2, these from . to 3; write names instead"
    ):
        read(folders, "val", LabelSet(tuple(COLOURS), (1, 2, 3)))


def test_classes_that_are_called_by_numbers_are_never_indices(folders: Path) -> None:
    (folders / "val.txt").write_text("blue/0.png 0\nred/0.png 1\n")
    records, findings = read(folders, "val", LabelSet(("1", "2", "3"), (1, 2, 3)))
    assert classes(records) == ["1"]
    assert [(p.kind, p.line) for p in findings.problems] == [(Kind.UNKNOWN_CLASS, 1)]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("blue/0.png,grade 0\nred/0.png,grade 1\n", ["grade 0", "grade 1"]),
        ("blue/0.png polar bear\nred/0.png polar fox\n", ["polar bear", "polar fox"]),
        ("blue/0.png,\u00b2\nred/0.png,a\n", ["\u00b2", "a"]),
    ],
)
def test_names_of_several_words_and_with_numbers_are_kept(folders: Path, text: str, names: list[str]) -> None:
    (folders / "train.txt").write_text(text, encoding="utf-8")
    assert classes(read(folders, "train")[0]) == names


def test_unknown_names_of_columns_are_no_class(folders: Path) -> None:
    (folders / "train.csv").write_text("id,breed\nblue/0.png,blue\nred/0.png,red\n")
    records, findings = read(folders, "train")
    assert records.labels.names == ("blue", "red")
    (problem,) = findings.problems
    assert problem.message == "id does not exist; if these are names of columns, call them file and class"


def test_wrong_lines_are_named(folders: Path) -> None:
    (folders / "train.csv").write_text("file,class\nblue/0.png,blue\nblue/9.png,blue\nred/0.png\nblue/0.png,red\n")
    place = SplitPlace(folders / "train.csv", (folders / "train",))
    findings = Findings()
    records = formats.READERS["class_list"](place, "train", None, findings)
    assert classes(records) == ["blue"]
    assert {(p.kind, p.line) for p in findings.problems} == {
        (Kind.LABEL_COLUMNS, 4),
        (Kind.MISSING_PICTURE, 3),
        (Kind.REPEATED_FILE, 5),
    }


def test_a_list_of_pictures_alone_is_none(folders: Path) -> None:
    """As YOLO writes `train.txt`."""
    (folders / "train.txt").write_text("train/blue/0.png\ntrain/red/0.png\n")
    assert formats.find_splits(folders, "class_list") == {}
