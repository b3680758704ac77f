"""A small ImageFolder: noise in the colour of the class."""

from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"blue": (40, 60, 220), "green": (40, 200, 60), "red": (220, 50, 40)}


def draw_class_folders(root: Path, *, seed: int = 0, **per_class: int) -> Path:
    """`SPLIT/CLASS/N.png` with so many pictures per class of each split, of two shapes."""
    generator = np.random.default_rng(seed)
    for split, count in per_class.items():
        for name, colour in COLOURS.items():
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                hw = ((64, 64), (64, 96))[number % 2]
                pixels = np.clip(np.array(colour) + generator.normal(0, 60, (*hw, 3)), 0, 255)
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    return root
