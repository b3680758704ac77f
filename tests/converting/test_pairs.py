"""`dinotune convert` between all formats of a kind: what is read back is what was drawn."""

from pathlib import Path

import numpy as np
import pytest

from dinotune.data.formats import HOLDS, READERS, WRITERS, detect_format
from dinotune.data.images import read_image
from dinotune.data.pixel_labels import class_map, object_masks
from dinotune.data.records import LabelSet, Records
from tests.cifar_files import NAMES, PALETTE, write_cifar
from tests.converting.drawn_sets import CLASSES, SPLITS, class_map_of, convert, drawn_splits, read
from tests.mask_folders import draw_mask_folder

BOXES = [kind for kind in READERS if HOLDS[kind] == "boxes"]
ONE_CLASS = LabelSet(("cell",), (1,))
WITH_MASKS = ("coco", "yolo", "instance_folder")
TOLERANCE = 1e-3
"""Pixels; YOLO's shares have six decimals."""


def assert_same_objects(read_back: Records, drawn: Records) -> None:
    assert [Path(path).read_bytes() for path in read_back.paths] == [Path(path).read_bytes() for path in drawn.paths]
    assert read_back.labels.names == drawn.labels.names
    assert read_back.sizes_hw.tolist() == drawn.sizes_hw.tolist()
    assert read_back.offsets.tolist() == drawn.offsets.tolist()
    assert read_back.box_labels.tolist() == drawn.box_labels.tolist()
    assert np.allclose(read_back.boxes, drawn.boxes, rtol=0, atol=TOLERANCE)
    assert not read_back.crowd.any()


@pytest.mark.parametrize("to", [kind for kind in WRITERS if HOLDS[kind] == "boxes"])
@pytest.mark.parametrize("kind", BOXES)
def test_boxes(tmp_path: Path, kind: str, to: str) -> None:
    drawn = drawn_splits(tmp_path / "drawn")
    WRITERS[kind](drawn, tmp_path / "set", "copy")
    assert convert(tmp_path / "set", tmp_path / "out", to) == 0
    assert detect_format(tmp_path / "out") == to
    for split, records in drawn.items():
        assert_same_objects(read(tmp_path / "out", split), records)


@pytest.mark.parametrize("to", [*WITH_MASKS, "voc", "torchvision_json"])
@pytest.mark.parametrize("kind", WITH_MASKS)
def test_masks_of_objects(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, to: str) -> None:
    drawn = drawn_splits(tmp_path / "drawn", ONE_CLASS)
    WRITERS[kind](drawn, tmp_path / "set", "copy")
    assert convert(tmp_path / "set", tmp_path / "out", to) == 0
    printed = capsys.readouterr().out
    held = to in WITH_MASKS and (kind, to) != ("instance_folder", "yolo")
    assert ("mask of an object left out, its box stands for it" in printed) is (not held and to != "voc")
    assert ("What the format cannot hold:" in printed) is not held
    for split, records in drawn.items():
        again = read(tmp_path / "out", split, "instance_masks" if held else "boxes")
        assert_same_objects(again, records)
        for index in range(len(again) if held else 0):
            expected = object_masks(records[index])
            assert (object_masks(again[index]) == expected).all()
            assert (expected.any(0) == (class_map_of(records[index]) > 0)).all(), "as painted by hand"


@pytest.mark.parametrize("kind", WITH_MASKS)
def test_objects_become_classes_of_pixels(tmp_path: Path, kind: str) -> None:
    drawn = drawn_splits(tmp_path / "drawn", ONE_CLASS if kind == "instance_folder" else CLASSES)
    WRITERS[kind](drawn, tmp_path / "set", "copy")
    assert convert(tmp_path / "set", tmp_path / "out", "mask_folder") == 0
    assert detect_format(tmp_path / "out") == "mask_folder"
    for split, records in drawn.items():
        again = read(tmp_path / "out", split, "semantic_masks")
        assert again.labels.names == ("background", *records.labels.names)
        assert len(again) == len(records)
        for index in range(len(again)):
            assert (class_map(again[index]) == class_map_of(records[index])).all()


def test_classes_of_pixels(tmp_path: Path) -> None:
    source = draw_mask_folder(tmp_path / "set", **SPLITS)
    assert convert(source, tmp_path / "out", "mask_folder", "--pictures", "link") == 0
    for split, count in SPLITS.items():
        before, again = (read(root, split, "semantic_masks") for root in (source, tmp_path / "out"))
        assert (again.labels, len(again)) == (before.labels, count)
        for index in range(count):
            assert (class_map(again[index]) == class_map(before[index])).all()
            assert again[index].path.readlink() == before[index].path


@pytest.mark.parametrize("to", [kind for kind in WRITERS if HOLDS[kind] == "classes"])
@pytest.mark.parametrize("kind", [kind for kind in READERS if HOLDS[kind] == "classes"])
def test_classes_of_pictures(tmp_path: Path, kind: str, to: str) -> None:
    """A picture's middle shows its class."""
    source = write_cifar(tmp_path / "cifar", per_file=18).parent
    if kind != "cifar":
        assert convert(source, tmp_path / kind, kind) == 0
        source = tmp_path / kind
    assert convert(source, tmp_path / "out", to) == 0
    assert detect_format(tmp_path / "out") == to
    for split, count in (("train", 90), ("test", 18)):
        records = read(tmp_path / "out", split, "classes")
        assert records.image_labels is not None
        assert (len(records), records.labels.names) == (count, NAMES)
        for path, label in zip(records.paths.tolist(), records.image_labels.tolist(), strict=True):
            assert read_image(Path(path)).getpixel((16, 16)) == PALETTE[NAMES[label]]
