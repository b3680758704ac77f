"""The values that masks hold, of some of them or of all."""

import functools
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from dinotune.data.formats.labelled_pictures import MOST_THREADS
from dinotune.data.images import DECODING_ERRORS
from dinotune.data.mask_files import Encoding, read_values
from dinotune.errors import DataError

SAMPLE = 20
"""Masks that are looked into, to see which of several files names their classes."""


class Masks:
    """The masks of a split, of which some are looked into where that is needed."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.sample = spread(paths, SAMPLE)
        self._values: dict[Encoding, frozenset[int]] = {}

    @functools.cached_property
    def modes(self) -> set[str]:
        """Pillow's modes of the sample."""
        return {mode for path in self.sample if (mode := _mode(path))}

    @functools.cached_property
    def coloured(self) -> bool:
        """Whether a mask of the sample holds colours that are no greys."""
        return any(mode.startswith("RGB") for mode in self.modes) and any(map(_has_colours, self.sample))

    def values(self, encoding: Encoding) -> frozenset[int]:
        """Those in the sample."""
        if encoding not in self._values:
            self._values[encoding] = all_values(self.sample, encoding)
        return self._values[encoding]


def spread(paths: Sequence[Path], most: int) -> list[Path]:
    """So many of the paths, evenly spread, or all."""
    places = np.unique(np.linspace(0, len(paths) - 1, min(len(paths), most)).round().astype(int))
    return [paths[place] for place in places.tolist()]


def all_values(paths: Sequence[Path], encoding: Encoding) -> frozenset[int]:
    """Values in these masks; files that cannot be read have none, which the check tells."""
    with ThreadPoolExecutor(min(MOST_THREADS, 2 * (os.cpu_count() or 1))) as pool:
        found = pool.map(functools.partial(_values, encoding=encoding), paths)
    return frozenset().union(*found)


def _values(path: Path, encoding: Encoding) -> frozenset[int]:
    try:
        values = read_values(path, encoding)
    except DataError:
        return frozenset()
    if values.min() >= 0 and values.max() < 2**16:  # counting is ten times as fast as sorting
        return frozenset(np.flatnonzero(np.bincount(values.reshape(-1))).tolist())
    return frozenset(np.unique(values).tolist())


def _mode(path: Path) -> str:
    try:
        with Image.open(path) as image:
            return image.mode
    except DECODING_ERRORS:
        return ""


def _has_colours(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            if not image.mode.startswith("RGB"):
                return False
            channels = np.asarray(image.convert("RGB"))
    except DECODING_ERRORS:
        return False
    return bool((channels != channels[..., :1]).any())
