"""Masks as they are written are read again pixel by pixel, whatever they came from."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dinotune import config
from dinotune.config.tasks import LabelKind
from dinotune.data.formats import WRITERS, detect_format
from dinotune.data.formats.writing import Pictures
from dinotune.data.pixel_labels import class_map, object_masks
from dinotune.data.records import LabelSet, Records
from dinotune.data.splits import read_records
from dinotune.errors import DataError
from tests.data.mask_sets import VOC_COLOURS, painted, read, values, write_pair
from tests.data.small_sets import write_coco_set

GOOD = values([0, 1], [1, 2], [2, 2], [255, 0])


def records_of(root: Path, needs: LabelKind = "semantic_masks", **settings: Any) -> dict[str, Records]:
    data = config.Data.model_validate({"root": root, **settings})
    return {split: read_records(data, split, seed=0, needs=needs) for split in ("train", "val")}


def plain(root: Path) -> None:
    for split in ("train", "val"):
        for name in ("a/1", "b/1", "2"):
            write_pair(root / f"images/{split}/{name}.jpg", root / f"masks/{split}/{name}.png", GOOD)
    (root / "classes.yaml").write_text("classes: {0: sky, 1: sea, 2: ship, 7: none}")


def sparse(root: Path) -> None:
    for split in ("train", "val"):
        write_pair(root / f"images/{split}/1.jpg", root / f"masks/{split}/1.png", values([7, 40000], [255, 300]))
    (root / "classes.yaml").write_text("classes: {7: Käse, 300: 'no', 40000: ship}")


def ade20k(root: Path) -> None:
    for split in ("training", "validation"):
        write_pair(root / f"images/{split}/1.jpg", root / f"annotations/{split}/1.png", values([0, 1], [2, 3]))
    (root / "objectInfo150.txt").write_text("Idx\tName\n1\twall\n2\tsky\n3\tsea\n")


def full_ade20k(root: Path) -> None:
    for split in ("training", "validation"):
        folder = root / "images/ADE" / split
        pixels = values([(0, 0, 0), (0, 255, 9)], [(12, 2, 9), (10, 2, 5)])
        write_pair(folder / "ADE_1.jpg", folder / "ADE_1_seg.png", pixels)


def cityscapes(root: Path) -> None:
    for split in ("train", "val"):
        mask = root / f"gtFine/{split}/ulm/1_gtFine_labelIds.png"
        write_pair(root / f"leftImg8bit/{split}/ulm/1_leftImg8bit.png", mask, values([7, 8], [33, 0]))


def voc(root: Path) -> None:
    pixels = painted(values([0, 1], [20, 255]), VOC_COLOURS)
    write_pair(root / "JPEGImages/1.jpg", root / "SegmentationClass/1.png", pixels)
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    for split in ("train", "val"):
        (root / f"ImageSets/Segmentation/{split}.txt").write_text("1\n")


def coco(root: Path) -> None:
    square = [[10, 5, 30, 5, 30, 15, 10, 15]]
    entry = {"id": 1, "image_id": 7, "category_id": 90, "bbox": [10, 5, 20, 10], "segmentation": square}
    inner = {
        "id": 2,
        "image_id": 7,
        "category_id": 18,
        "bbox": [12, 7, 20, 20],
        "segmentation": [[12, 7, 32, 7, 32, 27]],
    }
    for split in ("train", "val"):
        write_coco_set(root, split, f"images/{split}", annotations=[entry, inner])


@pytest.mark.parametrize("pictures", ["copy", "link"])
@pytest.mark.parametrize("draw", [plain, sparse, ade20k, full_ade20k, cityscapes, voc, coco])
def test_classes_of_pixels_come_back(tmp_path: Path, draw: Any, pictures: Pictures) -> None:
    draw(tmp_path / "in")
    splits, out = records_of(tmp_path / "in"), tmp_path / "out"
    notes = WRITERS["mask_folder"](splits, out, pictures)
    assert bool(notes) == (draw in (coco, full_ade20k))
    assert detect_format(out) == "mask_folder"
    for split, again in records_of(out).items():
        assert again.notes == ()
        before = splits[split]
        assert again.labels.names == before.labels.names
        assert len(again) == len(before)
        assert again.labels.ids == before.labels.ids or draw is full_ade20k
        for index in range(len(again)):
            assert (class_map(again[index]) == class_map(before[index])).all()
            assert again[index].path.is_symlink() == (pictures == "link")
    with Image.open(next((out / "masks").rglob("*.png"))) as mask:
        assert mask.mode == ("I;16" if draw is sparse else "L")


def test_ids_that_are_no_values_are_renumbered(tmp_path: Path) -> None:
    plain(tmp_path / "in")
    splits = records_of(tmp_path / "in")
    labels = LabelSet(("sky", "sea", "ship", "none"), (0, 255, 9, 70000))
    renamed = {split: replace(records, labels=labels) for split, records in splits.items()}
    (note,) = WRITERS["mask_folder"](renamed, tmp_path / "out", "copy")
    assert note == "ids of classes become 0, 1, 2, …: a mask folder holds 0 to 65535 without 255"
    assert read(tmp_path / "out")[0].labels == LabelSet(labels.names, (0, 1, 2, 3))


def test_many_classes_pass_by_255(tmp_path: Path) -> None:
    plain(tmp_path / "in")
    train = records_of(tmp_path / "in")["train"]
    labels = LabelSet(tuple(f"c{number}" for number in range(300)), tuple(range(300)))
    WRITERS["mask_folder"]({"train": replace(train, labels=labels)}, tmp_path / "out", "none")
    text = (tmp_path / "out/classes.yaml").read_text()
    assert "  254: c254\n  256: c255\n" in text
    assert not (tmp_path / "out/images").exists()


def test_what_a_mask_folder_cannot_hold_is_refused_or_said(tmp_path: Path) -> None:
    write_coco_set(tmp_path / "in")
    boxes = read_records(config.Data(root=tmp_path / "in", validation_share=0.5), "train", seed=0)
    with pytest.raises(DataError, match="holds classes of pixels, but the labels are boxes"):
        WRITERS["mask_folder"]({"train": boxes}, tmp_path / "out", "copy")
    with pytest.raises(DataError, match=r"holds one class, not 2 \(dog, mug\); write coco"):
        WRITERS["instance_folder"]({"train": boxes}, tmp_path / "out", "copy")
    one = replace(boxes, labels=LabelSet(("dog",), (1,)))
    with pytest.raises(DataError, match="holds masks of objects, which the labels have not"):
        WRITERS["instance_folder"]({"train": one}, tmp_path / "out", "copy")


@pytest.mark.parametrize(("kind", "needs"), [("mask_folder", "semantic_masks"), ("instance_folder", "instance_masks")])
def test_a_broken_object_is_named_once(tmp_path: Path, kind: str, needs: LabelKind) -> None:
    objects(tmp_path / "in", (SQUARE, 200), ({"size": [40, 60], "counts": "zz~~"}, 9))
    train = read_records(config.Data(root=tmp_path / "in"), "train", seed=0, needs=needs)
    with pytest.raises(DataError, match=r"^\S+seven\.jpg: object 2 of 2: the mask of an object cannot be read: [^/]+$"):
        WRITERS[kind]({"train": train}, tmp_path / "out", "copy")


def objects(root: Path, *segmentations: Any, **more: Any) -> None:
    entries = [
        {"id": number, "image_id": 7, "category_id": 18, "bbox": [1, 1, 40, 30], "segmentation": polygon, "area": area}
        for number, (polygon, area) in enumerate(segmentations, 1)
    ]
    entries[-1] |= more
    categories = [{"id": 18, "name": "dog"}]
    for split in ("train", "val"):
        write_coco_set(root, split, f"images/{split}", annotations=entries, categories=categories)


SQUARE, INNER, APART = ([[10, 5, 30, 5, 30, 15, 10, 15]], [[12, 7, 20, 7, 20, 12, 12, 12]], [[40, 20, 50, 20, 50, 39]])


def test_objects_come_back(tmp_path: Path) -> None:
    objects(tmp_path / "in", (SQUARE, 200), (APART, 95))
    splits = records_of(tmp_path / "in", "instance_masks")
    assert WRITERS["instance_folder"](splits, tmp_path / "out", "copy") == ()
    assert detect_format(tmp_path / "out") == "instance_folder"
    for split, again in records_of(tmp_path / "out", "instance_masks").items():
        assert (again.labels, again.notes) == (LabelSet(("dog",), (1,)), ())
        for index in range(len(again)):
            assert (object_masks(again[index]) == object_masks(splits[split][index])).all()


def test_overlaps_and_ignore_regions_are_said(tmp_path: Path) -> None:
    objects(tmp_path / "in", (SQUARE, 200), (INNER, 40), (INNER, 39), ([], 9), (APART, 95), iscrowd=1)
    data = config.Data(root=tmp_path / "in")
    train = read_records(data, "train", seed=0, needs="instance_masks")
    notes = WRITERS["instance_folder"]({"train": train}, tmp_path / "out", "copy")
    assert notes == (
        "1 × ignore region (crowd, difficult) left out: an instance folder has none",
        "1 × object that overlaps a smaller one without the pixels that both have",
        "1 × object that smaller ones cover left out",
    )
    again, _ = read(tmp_path / "out", kind="instance_folder")
    assert again.areas.tolist() == [160, 40]


def test_real_objects_come_back(shared_data: Path, tmp_path: Path) -> None:
    data = config.Data(root=shared_data / "nuclei")
    val = read_records(data, "val", seed=0, needs="instance_masks").select(np.arange(0, 40, 8))
    assert WRITERS["instance_folder"]({"val": val}, tmp_path / "out", "link") == ()
    again, _ = read(tmp_path / "out", "val", kind="instance_folder")
    assert again.boxes.tolist() == val.boxes.tolist()
    assert again.segments.text.tolist() == val.segments.text.tolist()  # type: ignore[union-attr]
