"""The classes of mask folders: from files, from the values themselves, or matched to those of a model."""

from pathlib import Path

import pytest

from dinotune.data.pixel_labels import class_map
from dinotune.data.problems import FileError, Kind
from dinotune.data.records import LabelSet
from dinotune.errors import DataError
from tests.data.mask_sets import PLAIN_IDS, ids_of, painted, read, values, write_pair

CLASS_FILES = {
    "classes.yaml": "classes: {0: sky, 1: sea, 2: ship}",
    "set.yml": "names: [sky, sea, ship]",
    "id2label.json": '{"0": "sky", "1": "sea", "2": "ship"}',
    "config.json": '{"id2label": {"2": "ship", "0": "sky", "1": "sea"}}',
    "turned.yaml": "classes: {sky: 0, sea: 1, ship: 2}",
    "labelmap.txt": "sky:1,1,1::\nsea:2,2,2::\nship:3,3,3::\n",
    "_classes.csv": "Pixel Value, Class\n0, sky\n1, sea\n2, ship\n",
    "classes.txt": "sky\nsea\nship\n",
}


@pytest.mark.parametrize("name", CLASS_FILES)
@pytest.mark.parametrize("folder", ["", "masks", "masks/train"])
def test_names_of_classes(tmp_path: Path, name: str, folder: str) -> None:
    write_pair(tmp_path / "images/train/a.jpg", tmp_path / "masks/train/a.png")
    (tmp_path / folder / name).write_text(CLASS_FILES[name])
    records, problems = read(tmp_path)
    assert (problems, records.labels) == ([], LabelSet(("sky", "sea", "ship"), (0, 1, 2)))
    assert ids_of(records) == PLAIN_IDS


@pytest.mark.parametrize("named", [False, True])
def test_camvid(tmp_path: Path, named: bool) -> None:
    """Its colours and the names of its folders, as they are passed around; another name for the folders does too."""
    pixels = painted(values([0, 1], [1, 2]), {0: (0, 0, 0), 1: (64, 128, 64), 2: (192, 0, 128)})
    masks = "train/masks" if named else "train_labels"
    write_pair(tmp_path / "train" / ("images" if named else "") / "a.png", tmp_path / masks / "a_L.png", pixels)
    (tmp_path / "class_dict.csv").write_text("name,r,g,b\nAnimal, 64, 128, 64\nArchway,192,0,128\n\nVoid,0,0,0\n")
    records, problems = read(tmp_path)
    assert (problems, records.labels) == ([], LabelSet(("Animal", "Archway"), (0, 1)))
    assert ids_of(records) == [[-1, 0], [0, 1]]
    (tmp_path / "class_dict.csv").write_text("name,r,g,b\nAnimal,64,128\n")
    with pytest.raises(FileError, match=r"class_dict.csv: a line is name,red,green,blue"):
        read(tmp_path)


@pytest.mark.parametrize("text", ["epochs: 3\nbatch: 4\n", "width: wide\n", "classes: {0: {name: a}}", "[1, 2"])
def test_other_files_name_no_classes(tmp_path: Path, text: str) -> None:
    write_pair(tmp_path / "images/a.jpg", tmp_path / "masks/a.png")
    (tmp_path / "settings.yaml").write_text(text)
    assert read(tmp_path)[0].labels.names == ("class 0", "class 1", "class 2")


def test_unclear_names_are_told(tmp_path: Path) -> None:
    write_pair(tmp_path / "images/a.jpg", tmp_path / "masks/a.png")
    (tmp_path / "classes.yaml").write_text("classes: {0: no, 1: sea, 2: sea}")
    records, problems = read(tmp_path)
    assert records.labels == LabelSet(("class 0", "sea", "class 2"), (0, 1, 2))
    assert [(p.kind, p.entry, p.message) for p in problems] == [
        (Kind.UNCLEAR_CLASS, "class 0", "False is no name; put it in quotes"),
        (Kind.UNCLEAR_CLASS, "class 2", '"sea" is class 1 too'),
    ]
    (tmp_path / "classes.yaml").write_text("classes: [")
    with pytest.raises(FileError, match="not readable as YAML"):
        read(tmp_path)


def test_the_first_file_that_fits_names_the_classes(tmp_path: Path) -> None:
    write_pair(tmp_path / "images/a.jpg", tmp_path / "masks/a.png")
    (tmp_path / "other.yaml").write_text("names: [one, two]")
    (tmp_path / "classes.txt").write_text("sky\nsea\nship\n")
    assert read(tmp_path)[0].labels.names == ("sky", "sea", "ship")
    (tmp_path / "classes.txt").write_text("sky\n")
    records, _ = read(tmp_path)
    assert records.labels.names == ("one", "two"), "none fits, so the first is taken"
    with pytest.raises(
        DataError, match=r"a.png: pixels of no known class: 2 \(9 px\).* values from 0 to 1, ignored are 255"
    ):
        class_map(records[0])


def test_unlabelled_pixels_and_ignore_ids(tmp_path: Path) -> None:
    write_pair(tmp_path / "images/a.jpg", tmp_path / "masks/a.png")
    (tmp_path / "classes.yaml").write_text("classes: {0: Unlabeled, 1: sea, 2: ship, 255: cloud}")
    records, _ = read(tmp_path)
    assert (records.labels.names, ids_of(records)) == (("sea", "ship"), [[-1, 1], [1, 2], [2, 2], [-1, -1]])
    assert records.notes == ('value 255 ("cloud") is ignored, as data.ignore_ids says',)
    records, _ = read(tmp_path, ignored=(2,))
    assert (records.labels.names, ids_of(records)) == (("sea", "cloud"), [[-1, 1], [1, -1], [-1, -1], [255, -1]])


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("top", [1, 255])
def test_two_values_are_background_and_foreground(tmp_path: Path, top: int, named: bool) -> None:
    """Also 0 and 255, which look like black and white; 255 is ignored only where more is left."""
    write_pair(tmp_path / "images/a.jpg", tmp_path / "masks/a.png", values([0, top], [top, 0]))
    if named:
        (tmp_path / "classes.txt").write_text("no\nyes\n")
    records, problems = read(tmp_path)
    assert (problems, records.labels.names) == ([], ("no", "yes") if named else ("background", "foreground"))
    assert class_map(records[0])[:, ::3].tolist() == [[0, 1], [1, 0]]


def test_sparse_and_large_ids(tmp_path: Path) -> None:
    write_pair(tmp_path / "images/a.jpg", tmp_path / "masks/a.png", values([7, 3], [40000, 7]))
    (tmp_path / "classes.yaml").write_text("classes: {40000: ship, 3: sky, 7: sea, 9: none}")
    records, _ = read(tmp_path)
    assert records.labels == LabelSet(("sky", "sea", "none", "ship"), (3, 7, 9, 40000))
    assert ids_of(records) == [[7, 3], [40000, 7]]


def test_nameless_classes_are_those_of_the_training_masks(tmp_path: Path) -> None:
    write_pair(tmp_path / "images/train/a.jpg", tmp_path / "masks/train/a.png", values([0, 7], [9, 0]))
    write_pair(tmp_path / "images/val/a.jpg", tmp_path / "masks/val/a.png", values([0, 9], [0, 9]))
    val, _ = read(tmp_path, "val")
    assert val.labels == read(tmp_path)[0].labels == LabelSet(("class 0", "class 7", "class 9"), (0, 7, 9))
    again, problems = read(tmp_path, "val", labels=val.labels)
    assert (again.labels, problems, ids_of(again)) == (val.labels, [], [[0, 9], [0, 9]])


def test_values_mean_what_they_mean_in_the_training_masks(tmp_path: Path) -> None:
    """A split whose masks happen to be all black, or to fit another file, is read like the rest."""
    for split, pixels in (("train", [[0, 255]]), ("val", [[0, 0]]), ("test", [[0, 3]])):
        write_pair(tmp_path / f"images/{split}/a.jpg", tmp_path / f"masks/{split}/a.png", values(*pixels))
    (tmp_path / "classes.yaml").write_text("classes: ['no', 'yes']")
    (tmp_path / "other.yaml").write_text("names: [a, b, c, d]")
    train, val, test = (read(tmp_path, split)[0] for split in ("train", "val", "test"))
    assert train.labels == val.labels == test.labels == LabelSet(("no", "yes"), (0, 1))
    codings = [records.mask_files.coding for records in (train, val, test) if records.mask_files is not None]
    assert [coding.values for coding in codings] == [(0, 255)] * 3
    with pytest.raises(DataError, match=r"pixels of no known class: 3 \(3 px\)"):
        class_map(test[0])


def test_classes_of_a_model_are_matched_by_name(tmp_path: Path) -> None:
    write_pair(tmp_path / "images/a.jpg", tmp_path / "masks/a.png")
    (tmp_path / "classes.txt").write_text("sky\nsea\nship\n")
    records, problems = read(tmp_path, labels=LabelSet(("ship", "rock", "sky"), (1, 2, 3)))
    assert records.labels == LabelSet(("ship", "rock", "sky"), (2, 4, 0)), "the ids of the masks, and free ones"
    assert class_map(records[0])[:, ::3].tolist() == [[2, -1], [-1, 0], [0, 0], [-1, 2]]
    (problem,) = problems
    assert (problem.kind, problem.message) == (
        Kind.UNKNOWN_CLASS,
        "sea: not among the classes of the model, ship, rock, sky; their pixels are ignored",
    )
