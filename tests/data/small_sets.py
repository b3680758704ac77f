"""Tiny data sets that tests write, and readings of real ones by other means than the product's."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from dinotune.data.records import ImageRecord, LabelSet, Records


def write_picture(path: Path, hw: tuple[int, int] = (40, 60), colour: tuple[int, int, int] = (90, 120, 30)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", hw[::-1], colour).save(path)
    return path


def write_coco_set(root: Path, split: str = "train2017", folder: str = "images/train2017", **changes: Any) -> Path:
    """Two pictures of 40 x 60 with sparse ids; `changes` replace top-level keys of the JSON."""
    content = {
        "images": [
            {"id": 7, "file_name": "seven.jpg", "height": 40, "width": 60},
            {"id": 3, "file_name": "three.jpg", "height": 40, "width": 60},
        ],
        "categories": [{"id": 90, "name": "mug"}, {"id": 18, "name": "dog"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 90, "bbox": [10, 5, 20, 10], "area": 111, "iscrowd": 0},
            {"id": 2, "image_id": 7, "category_id": 18, "bbox": [0, 0, 60, 40], "iscrowd": 1},
            {"id": 3, "image_id": 3, "category_id": 18, "bbox": [1.5, 2.5, 3, 4], "iscrowd": 0},
        ],
    } | changes
    for name in ("seven.jpg", "three.jpg"):
        write_picture(root / folder / name)
    path = root / "annotations" / f"instances_{split}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))
    return path


VocObject = tuple[str, tuple[float, float, float, float]]


def write_voc_set(root: Path, objects: Mapping[str, Sequence[VocObject]], splits: Mapping[str, Sequence[str]]) -> None:
    """Pictures of 40 x 60 with objects as written in VOC (1-based, inclusive); a name ending in `?` is difficult."""
    (root / "Annotations").mkdir(parents=True)
    (root / "ImageSets" / "Main").mkdir(parents=True)
    for stem, boxes in objects.items():
        write_picture(root / "JPEGImages" / f"{stem}.jpg")
        lines = ["<annotation>", "<filename>stale.jpg</filename>"]
        lines += ["<size><width>60</width><height>40</height><depth>3</depth></size>"]
        for name, corners in boxes:
            bounds = "".join(
                f"<{key}>{value:g}</{key}>"
                for key, value in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
            )
            flag = f"<difficult>{int(name.endswith('?'))}</difficult>"
            lines += ["<object>", f"<name>{name.rstrip('?')}</name>{flag}", f"<bndbox>{bounds}</bndbox>", "</object>"]
        (root / "Annotations" / f"{stem}.xml").write_text("\n".join([*lines, "</annotation>"]))
    for split, stems in splits.items():
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{stem}\n" for stem in stems))


def drawn_records(
    folder: Path, sizes_hw: Sequence[tuple[int, int]], *, seed: int = 0, objects: int = 3, classes: int = 2
) -> Records:
    """Noise pictures of given sizes with random boxes, written to `folder`."""
    generator = np.random.default_rng(seed)
    images = []
    for number, (height, width) in enumerate(sizes_hw):
        path = folder / f"{number}.png"
        Image.fromarray(generator.integers(0, 256, (height, width, 3), np.uint8)).save(path)
        corner = generator.uniform(0, 0.5, (objects, 2)) * (width, height)
        side = generator.uniform(0.2, 0.5, (objects, 2)) * (width, height)
        boxes = np.concatenate([corner, corner + side], 1)
        labels = generator.integers(0, classes, objects)
        crowd = np.zeros(objects, np.bool_)
        images.append(ImageRecord(path, number + 1, height, width, boxes, labels, crowd, side.prod(1)))
    names = tuple(f"class{i}" for i in range(classes))
    return Records.from_images("drawn", LabelSet(names, tuple(range(1, classes + 1))), images)


def voc_objects(root: Path, split: str) -> list[tuple[str, str, tuple[float, ...]]]:
    """Stem, class and written corners of every object, by the standard library alone."""
    stems = (root / "ImageSets/Main" / f"{split}.txt").read_text().split()
    return [
        (
            stem,
            str(element.findtext("name")),
            tuple(float(bound.text or "nan") for bound in element.iter() if bound.tag in BOUNDS),
        )
        for stem in stems
        for element in ElementTree.parse(root / "Annotations" / f"{stem}.xml").getroot().iter("object")
    ]


BOUNDS = ("xmin", "ymin", "xmax", "ymax")


def stretch(picture_hw: tuple[int, int], network_hw: tuple[int, int]) -> float:
    """By how much a picture's shape changes: 1 for none, the same for squeezing and widening."""
    ratio = picture_hw[1] / picture_hw[0] * network_hw[0] / network_hw[1]
    return max(ratio, 1 / ratio)
