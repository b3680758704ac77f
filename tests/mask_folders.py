"""A small mask folder: drawn shapes on a background, a class per pixel."""

from pathlib import Path

import numpy as np
from PIL import Image

from dinotune.data.shape_pictures import SHAPE_CLASSES, draw_shape_picture

NAMES = ("background", *SHAPE_CLASSES)
VALUES = tuple(3 * number for number in range(len(NAMES)))
"""Sparse, as ids of pixels often are."""
SIZES_HW = ((64, 64), (64, 96))


def draw_mask_folder(root: Path, *, seed: int = 0, **counts: int) -> Path:
    """`images/SPLIT/N.png`, `masks/SPLIT/N.png` and `classes.yaml`; the first row of every mask is ignored."""
    for split_number, (split, count) in enumerate(counts.items()):
        for folder in ("images", "masks"):
            (root / folder / split).mkdir(parents=True)
        for number in range(count):
            rng = np.random.default_rng([seed, split_number, number])
            picture = draw_shape_picture(rng, SIZES_HW[number % 2])
            mask = np.zeros(picture.image.shape[:2], np.uint8)
            for pixels, label in zip(picture.masks, picture.labels.tolist(), strict=True):
                mask[pixels] = VALUES[label + 1]
            mask[0] = 255
            Image.fromarray(picture.image).save(root / "images" / split / f"{number}.png")
            Image.fromarray(mask).save(root / "masks" / split / f"{number}.png")
    lines = [f"  {value}: {name}" for value, name in zip(VALUES, NAMES, strict=True)]
    (root / "classes.yaml").write_text("\n".join(["classes:", *lines]) + "\n")
    return root
