"""Tiny data sets with masks, in the layouts in which they are found."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dinotune.data import formats
from dinotune.data.formats.base import MaskOptions
from dinotune.data.pixel_labels import class_map
from dinotune.data.problems import Findings, Problem
from dinotune.data.records import LabelSet, Records
from tests.data.small_sets import write_picture

VOC_COLOURS = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 20: (0, 64, 128), 255: (224, 224, 192)}
"""From Pascal VOC's own table."""


def values(*rows: Sequence[Any]) -> np.ndarray:
    """A mask whose rows hold these values, each for three pixels."""
    return np.repeat(np.array(rows), 3, axis=1)


PLAIN = values([0, 1], [1, 2], [2, 2], [255, 0])
PLAIN_IDS = [[0, 1], [1, 2], [2, 2], [-1, 0]]


def write_mask(path: Path, mask: np.ndarray, palette: Sequence[int] = ()) -> Path:
    """An 8-bit mask, a 16-bit one for larger values, RGB for three channels; with a palette where one is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(mask.astype(np.uint16 if mask.max() > 255 else np.uint8))
    if palette:
        image.putpalette(palette)
    image.save(path)
    return path


def write_pair(picture: Path, mask: Path, pixels: np.ndarray = PLAIN, palette: Sequence[int] = ()) -> None:
    write_picture(picture, (pixels.shape[0], pixels.shape[1]))
    write_mask(mask, pixels, palette)


def painted(ids: np.ndarray, colours: dict[int, tuple[int, int, int]]) -> np.ndarray:
    return np.array([[colours[id_] for id_ in row] for row in ids.tolist()])


def read(
    root: Path, split: str = "train", labels: LabelSet | None = None, kind: str = "mask_folder", **masks: Any
) -> tuple[Records, list[Problem]]:
    """A split as the reader has it, and what it found."""
    findings = Findings()
    place = replace(formats.find_splits(root, kind)[split], masks=MaskOptions(wanted=True, **masks))
    return formats.READERS[kind](place, split, labels, findings), findings.problems


def ids_of(records: Records, index: int = 0) -> list[list[int]]:
    """The original id of every third pixel, -1 where none counts."""
    ids = np.array([*records.labels.ids, -1])
    found: list[list[int]] = ids[class_map(records[index])[:, ::3]].tolist()
    return found
