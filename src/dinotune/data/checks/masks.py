"""Looks into masks of classes: what cannot be read or is of no class, and how much each class covers."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from dinotune.config.tasks import IGNORED
from dinotune.data.mask_files import MaskFile, read_values
from dinotune.data.problems import Kind, counted
from dinotune.data.records import Records
from dinotune.data.segments import Segments
from dinotune.errors import DataError


@dataclass(frozen=True)
class PixelCounts:
    """What the masks of a split show, of all or a sample."""

    pictures: Int64[np.ndarray, "classes"]
    """Pictures that show each class."""
    pixels: Int64[np.ndarray, "classes"]
    masks: int
    """Masks that could be read."""
    empty: int
    """Those of them without a pixel that counts."""
    of: int
    """All masks of the split."""

    @property
    def shares(self) -> Float64[np.ndarray, "classes"]:
        """Of the pixels that count."""
        return np.asarray(self.pixels / max(int(self.pixels.sum()), 1), np.float64)

    def __str__(self) -> str:
        return "" if self.masks == self.of else f" (in {counted(self.masks, 'mask')} of {self.of:,})"


class MaskLook(NamedTuple):
    """What is wrong with a mask, and how many pixels each class has; none where it cannot be read."""

    problem: tuple[Kind, str] | None
    pixels: Int64[np.ndarray, "classes"] | None


def look_at_mask(mask: MaskFile, hw: tuple[int, int]) -> MaskLook:
    """Decode the mask of a picture of height and width `hw`."""
    try:
        values = read_values(mask.path, mask.coding.encoding)
    except DataError as error:
        return MaskLook((Kind.UNREADABLE_MASK, str(error).removeprefix(f"{mask.path}: ")), None)
    if values.shape != hw:
        message = (
            f"{values.shape[1]} x {values.shape[0]} pixels, but its picture has {hw[1]} x {hw[0]} (width x height)"
        )
        return MaskLook((Kind.WRONG_MASK_SIZE, message), None)
    try:
        classes = mask.coding.classes(values)
    except DataError as error:
        return MaskLook((Kind.UNKNOWN_VALUE, str(error)), None)
    pixels = np.bincount(classes.reshape(-1) - IGNORED, minlength=len(mask.coding.values) + 1)[1:]
    problem = None if pixels.any() else (Kind.ALL_IGNORED, "all its pixels are ignored")
    return MaskLook(problem, pixels)


def look_at_objects(segments: Segments, hw: tuple[int, int]) -> list[tuple[Kind, str]]:
    """What is wrong with the masks of objects of a picture of height and width `hw`: one remark for all of them."""
    from dinotune.data.rle import check_mask  # loads cv2, which no reader needs

    said = []
    for number, text in enumerate(segments.texts(0, len(segments)), 1):
        try:
            if text:
                check_mask(text, hw)
        except DataError as error:
            said.append(f"object {number} of {len(segments)}: {error}")
    more = f"; and {len(said) - 1} more" if len(said) > 1 else ""
    return [(Kind.UNPAINTABLE_MASK, said[0] + more)] if said else []


def count_pixels(looks: Iterable[MaskLook], classes: int, of: int) -> PixelCounts:
    """Sum up masks of one split, which has `of` masks in all."""
    found = [look.pixels for look in looks if look.pixels is not None]
    pixels = np.stack(found) if found else np.zeros((0, classes), np.int64)
    empty = int((~pixels.any(1)).sum())
    return PixelCounts((pixels > 0).sum(0), pixels.sum(0), len(pixels), empty, of)


def sampled_pixels(records: Records, most: int) -> PixelCounts | None:
    """Counts of so many masks, evenly spread; none where a split has no masks of classes."""
    if records.mask_files is None:
        return None
    places = np.unique(np.linspace(0, len(records) - 1, min(most, len(records))).round().astype(int))
    records = records.select(places)
    looks = []
    for index in range(len(records)):
        record = records[index]
        assert record.mask is not None
        looks.append(look_at_mask(record.mask, (record.height, record.width)))
    return count_pixels(looks, len(records.labels), len(records))
