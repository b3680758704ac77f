"""Instance folder writer: `images/SPLIT`, `instance_masks/SPLIT/NAME.png` with a number per object, and `classes.yaml`."""

from collections import Counter
from pathlib import Path

import numpy as np
import yaml
from jaxtyping import UInt16

from dinotune.data.formats.mask_folder.class_files import OURS
from dinotune.data.formats.mask_folder.write import write_masks
from dinotune.data.formats.writing import Pictures, Splits, common_labels
from dinotune.data.problems import some
from dinotune.data.records import ImageRecord
from dinotune.errors import DataError
from dinotune.files import write_text

MOST_OBJECTS = 2**16 - 1
"""Numbers of a 16-bit PNG."""

LOST = {
    "ignore region (crowd, difficult)": "left out: an instance folder has none",
    "object without a mask": "left out",
    "object that overlaps a smaller one": "without the pixels that both have",
    "object that smaller ones cover": "left out",
}


def write_instance_folder(splits: Splits, out: Path, pictures: Pictures = "copy") -> tuple[str, ...]:
    """Write all splits below `out`; of overlapping objects the smaller one keeps the pixels that both have.

    Returns sentences on what the format cannot hold: ignore regions, objects without a mask, overlaps. DataError for
    several classes, labels without masks of objects, and pictures that would share a mask.
    """
    labels = common_labels(splits)
    if len(labels) != 1:
        raise DataError(f"an instance folder holds one class, not {len(labels)} ({some(labels.names)}); write coco")
    for records in splits.values():
        if records.segments is None or records.has == "semantic_masks":
            raise DataError(f"{records.name}: an instance folder holds masks of objects, which the labels have not")
    lost: Counter[str] = Counter()
    write_masks(splits, out, "instance_masks", pictures, lambda image: _numbers(image, lost))
    write_text(out / OURS, yaml.safe_dump({"classes": {1: labels.names[0]}}, allow_unicode=True))
    return tuple(f"{lost[what]} × {what} {fate}" for what, fate in LOST.items() if lost[what])


def _numbers(image: ImageRecord, lost: Counter[str]) -> UInt16[np.ndarray, "height width"]:
    """Objects as 1, 2, ... in their order; what does not come through is counted."""
    from dinotune.data.pixel_labels import object_masks  # loads cv2, which no reader needs

    assert image.segments is not None
    crowds, bare, overlapping, covered = LOST
    numbers = np.zeros((image.height, image.width), np.uint16)
    if len(image.boxes) > MOST_OBJECTS:
        raise DataError(f"{image.path}: {len(image.boxes)} objects; a 16-bit mask holds {MOST_OBJECTS}")
    pixels = {}
    for row in np.argsort(-image.areas, kind="stable").tolist():
        if image.crowd[row] or not image.segments[row]:
            lost[crowds if image.crowd[row] else bare] += 1
            continue
        (mask,) = object_masks(image, np.array([row]))
        pixels[row + 1] = int(mask.sum())
        numbers[mask] = row + 1
    kept = np.bincount(numbers.reshape(-1), minlength=len(image.boxes) + 1)
    for number, count in pixels.items():
        if kept[number] < count or not count:
            lost[overlapping if kept[number] else covered] += 1
    return numbers
