"""Which format a folder or a file holds, and the tables of formats."""

from pathlib import Path
from typing import get_args

import pytest

from dinotune import config
from dinotune.data.formats import FINDERS, HOLDS, KNOWN_BY, READERS, WRITERS, detect_format, format_of
from dinotune.errors import DataError
from tests.data.small_sets import write_coco_set, write_voc_set


def test_settings_readers_and_writers_know_the_same_formats() -> None:
    chosen = set(get_args(config.Data.model_fields["format"].annotation))
    assert chosen - {"auto"} == set(FINDERS) == set(READERS) == set(HOLDS) == set(KNOWN_BY)
    assert set(FINDERS) - set(WRITERS) == {"cifar"}, "a data set of its own makers"


def test_nothing_found_names_every_format_and_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    with pytest.raises(DataError) as error:
        detect_format(tmp_path)
    message = str(error.value)
    for part in (
        "COCO (annotations/instances_SPLIT*.json",
        "Pascal VOC (Annotations/*.xml",
        "YOLO (data.yaml, labels/SPLIT/*.txt with images/SPLIT)",
        "TorchVision JSON (annotations/SPLIT/annotations_torchvision.json)",
        "the folder holds pictures;",
    ):
        assert part in message


def test_a_file_as_root_is_refused_with_its_folder(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("names: [dog]\ntrain: images\n")
    with pytest.raises(DataError, match=rf"use data.root={tmp_path}$"):
        detect_format(tmp_path / "data.yaml")


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("a.json", '{"images": []}', "coco"),
        ("a.json", "\ufeff\n [\n{}]", "torchvision_json"),
        ("data.yaml", "names: [a]", "yolo"),
        ("labels/train/1.txt", "0 0 0 1 1", "yolo"),
        ("Annotations/1.xml", "<a/>", "voc"),
    ],
)
def test_format_of_what_someone_names(tmp_path: Path, name: str, text: str, kind: str) -> None:
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    assert format_of(tmp_path / name.split("/", maxsplit=1)[0]) == kind


def test_a_folder_without_annotations_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"neither XML files \(Pascal VOC\) nor label files \*.txt \(YOLO\)"):
        format_of(tmp_path)


def test_two_originals_need_a_choice_also_beside_a_copy(tmp_path: Path) -> None:
    write_voc_set(tmp_path, {"a": [("cat", (1, 1, 5, 5))]}, {"train": ["a"]})
    write_coco_set(tmp_path)
    (tmp_path / "labels/train2017").mkdir(parents=True)
    (tmp_path / "labels/train2017/seven.txt").write_text("0 0.5 0.5 0.5 0.5")
    with pytest.raises(DataError, match=r"coco and voc and yolo annotations; choose with data.format=coco"):
        detect_format(tmp_path)
