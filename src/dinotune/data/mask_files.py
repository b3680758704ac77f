"""Mask files: pictures whose pixels say a class, and what their values mean."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Int16, Int32, Int64
from PIL import Image

from dinotune.config.tasks import IGNORED
from dinotune.data.images import DECODING_ERRORS
from dinotune.errors import DataError

Encoding = Literal["ids", "ade20k_full", "colours"]
"""How a pixel holds its value: as it is (of a palette: the index); as (R // 10) * 256 + G, like the full ADE20K; or as
the colour R * 65536 + G * 256 + B."""

MOST_NAMED = 10

ABSENT = -(2**31)
"""Stands for the value of a class that the masks of a data set do not have."""


@dataclass(frozen=True)
class MaskCoding:
    """What the values of pixels mean, alike in all masks of a data set."""

    encoding: Encoding
    values: tuple[int, ...]
    """The value of each class, in the order of the classes; `ABSENT` for those that the data set lacks."""
    ignored: tuple[int, ...] = ()
    """Values of pixels that neither teach nor count."""

    def classes(self, pixels: Int32[np.ndarray, "height width"]) -> Int16[np.ndarray, "height width"]:
        """0-based classes of the pixels, or `IGNORED`. DataError names values that are neither."""
        known = np.array([*self.values, *self.ignored], np.int64)
        meaning = np.array([*range(len(self.values)), *[IGNORED] * len(self.ignored)], np.int16)
        order = np.argsort(known, kind="stable")
        at = np.searchsorted(known[order], pixels).clip(max=len(known) - 1)
        unknown = known[order][at] != pixels
        if unknown.any():
            raise DataError(self._unknown(pixels, unknown))
        return np.asarray(meaning[order][at], np.int16)

    def _unknown(self, pixels: Int32[np.ndarray, "height width"], unknown: np.ndarray) -> str:
        values, counts = np.unique(pixels[unknown], return_counts=True)
        row, column = np.argwhere(unknown)[0].tolist()
        listed = [f"{self.name(v)} ({n:,} px)" for v, n in zip(values.tolist(), counts.tolist(), strict=True)]
        more = f" and {len(listed) - MOST_NAMED} more" if len(listed) > MOST_NAMED else ""
        present = [value for value in self.values if value != ABSENT]
        span = (
            f"have values from {self.name(min(present))} to {self.name(max(present))}" if present else "have no values"
        )
        return (
            f"pixels of no known class: {', '.join(listed[:MOST_NAMED])}{more}, first at x {column}, y {row}; "
            f"the {len(present)} classes {span}, ignored are "
            f"{', '.join(map(self.name, self.ignored)) or 'none'}. Name the classes, or leave such pixels out with "
            f"data.ignore_ids"
        )

    def name(self, value: int) -> str:
        """A value as a user would write it: colours as `#rrggbb`."""
        return f"#{value:06x}" if self.encoding == "colours" else str(value)


@dataclass(frozen=True)
class MaskFile:
    """The mask of one picture."""

    path: Path
    coding: MaskCoding


@dataclass(frozen=True)
class MaskFiles:
    """The masks of a split, one per picture."""

    paths: np.ndarray
    """Files, as str."""
    coding: MaskCoding

    def select(self, indices: Int64[np.ndarray, "chosen"]) -> "MaskFiles":
        """Those of these pictures, in this order."""
        return MaskFiles(self.paths[indices], self.coding)


def read_values(path: Path, encoding: Encoding) -> Int32[np.ndarray, "height width"]:
    """The values in a mask file; DataError where it cannot be read or has colours where ids are due."""
    try:
        with Image.open(path) as image:
            image.load()
            return _values(image, encoding)
    except FileNotFoundError:
        raise DataError(f"{path}: no such mask") from None
    except DECODING_ERRORS as error:
        raise DataError(f"{path}: not a readable mask: {error}") from None


def read_class_map(mask: MaskFile, hw: tuple[int, int]) -> Int16[np.ndarray, "height width"]:
    """0-based classes of a picture's pixels, `IGNORED` where none counts.

    Raises:
        DataError: the mask cannot be read, has another size than `hw`, or values that are no class.
    """
    values = read_values(mask.path, mask.coding.encoding)
    if values.shape != hw:
        raise DataError(
            f"{mask.path}: a mask of {values.shape[1]} x {values.shape[0]} pixels for a picture of {hw[1]} x {hw[0]} "
            "(width x height); resize it without smoothing (nearest)"
        )
    try:
        return mask.coding.classes(values)
    except DataError as error:
        raise DataError(f"{mask.path}: {error}") from None


def _values(image: Image.Image, encoding: Encoding) -> Int32[np.ndarray, "height width"]:
    if encoding == "ids":
        return _ids(image)
    red, green, blue = _channels(image)
    values: Int32[np.ndarray, "height width"] = red * 65536 + green * 256 + blue
    if encoding == "ade20k_full":
        values = (red // 10) * 256 + green
    return values


def _channels(image: Image.Image) -> Int32[np.ndarray, "3 height width"]:
    channels: Int32[np.ndarray, "3 height width"] = np.asarray(image.convert("RGB"), np.int32).transpose(2, 0, 1)
    return channels


def _ids(image: Image.Image) -> Int32[np.ndarray, "height width"]:
    if image.mode in ("L", "P", "1", "I", "I;16", "I;16B", "I;16L"):
        return np.asarray(image).astype(np.int32)
    red, green, blue = _channels(image)
    if not ((red == green).all() and (red == blue).all()):
        raise ValueError(
            "colours where an id per pixel is due; save one channel, or say what they mean in labelmap.txt"
        )
    ids: Int32[np.ndarray, "height width"] = red
    return ids
