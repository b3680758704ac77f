"""A data set is found in the folder itself or below it; what is missing is said."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from dinotune.errors import DataError
from dinotune.starting.folder import find_data_set
from dinotune.starting.survey import survey


def test_a_data_set_is_found_where_it_lies(shapes: Path) -> None:
    found = find_data_set(shapes)
    assert (found.root, found.format, found.notes) == (shapes, "coco", ())


@pytest.mark.parametrize("deeper", ["helmets", "download/helmets"])
def test_a_zip_extracted_too_deep_is_looked_into(shapes: Path, tmp_path: Path, deeper: str) -> None:
    shutil.copytree(shapes, tmp_path / "zip" / deeper)
    (tmp_path / "zip" / "__MACOSX").mkdir()
    found = find_data_set(tmp_path / "zip")
    assert found.root == tmp_path / "zip" / deeper
    assert found.notes == (f"the data set lies in {found.root}",)


def test_two_data_sets_below_are_named(shapes: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        shutil.copytree(shapes, tmp_path / name)
    with pytest.raises(DataError, match=r"holds 2 data sets; name one of them: .*one, .*two"):
        find_data_set(tmp_path)


def test_two_formats_take_the_first_and_say_so(shapes: Path, tmp_path: Path) -> None:
    shutil.copytree(shapes, tmp_path / "both")
    main = tmp_path / "both" / "ImageSets" / "Main"
    main.mkdir(parents=True)
    (tmp_path / "both" / "Annotations").mkdir()
    (main / "train.txt").write_text("a\n")
    found = find_data_set(tmp_path / "both")
    assert found.format == "coco"
    assert "holds voc annotations too; coco is read" in found.notes[0]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["notes.txt"], r"no annotations found\. Looked for COCO .*Pascal VOC .*YOLO .*the folder holds notes\.txt"),
        (["notes.txt", "deep/a.png", "b.jpg"], "Found 2 pictures, but no labels .*dinotune predict runs/latest"),
        (None, "no such folder"),
    ],
)
def test_what_is_missing_is_said(tmp_path: Path, files: list[str] | None, expected: str) -> None:
    folder = tmp_path / "pictures"
    for name in files or ():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".txt"):
            (folder / name).write_text("nothing")
        else:
            Image.new("RGB", (8, 8)).save(folder / name)
    with pytest.raises(DataError, match=f"(?s){expected}"):
        find_data_set(folder)


def test_several_files_for_one_split_are_found_and_left_to_the_settings(tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    for year in (2014, 2017):
        (tmp_path / "annotations" / f"instances_train{year}.json").write_text(json.dumps({}))
    assert find_data_set(tmp_path).format == "coco"
    with pytest.raises(DataError, match="several files for split train"):
        survey(find_data_set(tmp_path))
