"""The quickstart's data set: about 700 small pictures of textured shapes, drawn from a seed, in COCO's format.

What a seed gives stays as it is: scores that people compare depend on it.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool
from PIL import Image

from dinotune.data.shape_pictures import SHAPE_CLASSES, ShapePicture, draw_shape_picture
from dinotune.errors import DataError

STAMP = "shapes.json"
VERSION = 1
SIZES_HW = ((128, 128), (128, 160), (160, 128))
IMAGE_ID_STEP = 100_000
"""Image ids start at 1, 100001 and 200001, so that no two splits share one."""


def draw_shapes(
    folder: Path,
    *,
    seed: int = 0,
    train: int = 640,
    val: int = 40,
    test: int = 40,
    sizes_hw: tuple[tuple[int, int], ...] = SIZES_HW,
) -> Path:
    """Draw the data set into `folder` and return it; a complete one of the same settings is reused.

    Writes `images/SPLIT/*.png` and `annotations/instances_SPLIT.json` with tight boxes and masks of what is
    visible. The same seed gives the same bytes. DataError where the folder holds anything else.
    """
    counts = {split: count for split, count in (("train", train), ("val", val), ("test", test)) if count}
    stamp = {"drawn_by": "dinotune shapes", "version": VERSION, "seed": seed, **counts, "sizes_hw": _lists(sizes_hw)}
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder} is a file; name a folder for the drawn data set")
    if folder.is_dir() and any(folder.iterdir()):
        _check_reusable(folder, stamp, counts)
        return folder
    # Drawn beside and moved at the end, so that a folder is complete or not there.
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    for split_number, (split, count) in enumerate(counts.items()):
        _draw_split(unfinished, split, [(seed, split_number, index) for index in range(count)], sizes_hw)
    (unfinished / STAMP).write_text(json.dumps(stamp, indent=1) + "\n")
    if folder.is_dir():
        folder.rmdir()
    unfinished.rename(folder)
    return folder


def _check_reusable(folder: Path, stamp: dict[str, Any], counts: dict[str, int]) -> None:
    way_out = "name another folder or delete this one"
    if not (folder / STAMP).is_file():
        raise DataError(f"{folder} is not empty and was not drawn by this tool (no {STAMP}); {way_out}")
    found = json.loads((folder / STAMP).read_text())
    if found != stamp:
        different = sorted(key for key in found.keys() | stamp.keys() if found.get(key) != stamp.get(key))
        raise DataError(f"{folder} holds shapes drawn with another {', '.join(different)} than {stamp}; {way_out}")
    for split, count in counts.items():
        pictures = len(list((folder / "images" / split).glob("*.png")))
        if pictures != count or not (folder / "annotations" / f"instances_{split}.json").is_file():
            raise DataError(f"{folder} is damaged: {pictures} of {count} pictures in images/{split}; {way_out}")


def _draw_split(
    folder: Path, split: str, seeds: list[tuple[int, int, int]], sizes_hw: tuple[tuple[int, int], ...]
) -> None:
    pictures = folder / "images" / split
    pictures.mkdir(parents=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        height, width = sizes_hw[int(rng.integers(len(sizes_hw)))]
        picture = draw_shape_picture(rng, (height, width))
        image_id = 1 + seed[1] * IMAGE_ID_STEP + seed[2]
        name = f"{image_id:06d}.png"
        Image.fromarray(picture.image).save(pictures / name, compress_level=1)
        images.append({"id": image_id, "file_name": name, "height": height, "width": width})
        annotations.extend(_annotate(picture, image_id, len(annotations) + 1))
    truth = {
        "info": {"description": f"Textured shapes, seed {seeds[0][0]}, {split}", "version": str(VERSION)},
        "categories": [{"id": number, "name": name} for number, name in enumerate(SHAPE_CLASSES, start=1)],
        "images": images,
        "annotations": annotations,
    }
    (folder / "annotations").mkdir(exist_ok=True)
    (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(truth) + "\n")


def _annotate(picture: ShapePicture, image_id: int, first_id: int) -> list[dict[str, Any]]:
    columns = (picture.labels.tolist(), picture.boxes.tolist(), picture.masks)
    return [
        {
            "id": number,
            "image_id": image_id,
            "category_id": label + 1,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "area": int(mask.sum()),
            "iscrowd": 0,
            "segmentation": {"size": list(mask.shape), "counts": run_lengths(mask)},
        }
        for number, (label, (x1, y1, x2, y2), mask) in enumerate(zip(*columns, strict=True), start=first_id)
    ]


def run_lengths(mask: Bool[np.ndarray, "height width"]) -> list[int]:
    """COCO's uncompressed run lengths: column by column, starting with the zeros."""
    flat = np.concatenate([[False], mask.ravel(order="F")])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    lengths: list[int] = np.diff([0, *changes, mask.size]).tolist()
    return lengths


def _lists(sizes_hw: tuple[tuple[int, int], ...]) -> list[list[int]]:
    return [list(size) for size in sizes_hw]
