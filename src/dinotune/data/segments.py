"""Masks of objects as COCO writes them, polygons or RLE, as text in numpy columns; `data.rle` decodes them."""

import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64, UInt8

FARTHEST = 3
"""Points beyond so many times the longer side are no slip of the hand; painting them takes memory without bound."""


@dataclass(frozen=True)
class Segments:
    """JSON texts of the objects of a split, one after the other; that of object i is text[offsets[i]:offsets[i+1]]."""

    text: UInt8[np.ndarray, "characters"]
    offsets: Int64[np.ndarray, "objects+1"]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def present(self) -> Bool[np.ndarray, "objects"]:
        """Which objects have a mask."""
        return np.diff(self.offsets) > 0

    def texts(self, first: int, last: int) -> tuple[str, ...]:
        """Those of the objects from `first` up to but without `last`."""
        ends = self.offsets[first : last + 1].tolist()
        return tuple(self.text[a:b].tobytes().decode() for a, b in itertools.pairwise(ends))

    def part(self, first: int, last: int) -> "Segments":
        """Those of the same objects as `texts`, without a copy."""
        return Segments(self.text, self.offsets[first : last + 1])

    def select(self, rows: Int64[np.ndarray, "chosen"]) -> "Segments":
        """Those of these objects, in this order."""
        return Segments.from_texts(text for row in rows.tolist() for text in self.texts(row, row + 1))

    @classmethod
    def from_texts(cls, texts: Iterable[str]) -> "Segments":
        """Columns from single texts."""
        parts = [text.encode() for text in texts]
        offsets = np.cumsum([0, *map(len, parts)]).astype(np.int64)
        return cls(np.frombuffer(b"".join(parts), np.uint8), offsets)


def what_is_wrong(segmentation: Any, hw: tuple[int, int]) -> str:
    """Why a COCO `segmentation` cannot be used in a picture of height and width `hw`, in words; empty where it can."""
    if isinstance(segmentation, dict):
        return _wrong_rle(segmentation.get("size"), segmentation.get("counts"), hw)
    if not isinstance(segmentation, list) or not segmentation:
        return "no polygons"
    for polygon in segmentation:
        numbers = isinstance(polygon, list) and all(isinstance(value, int | float) for value in polygon)
        if not numbers or len(polygon) < 6 or len(polygon) % 2:
            return "a polygon needs x and y of three points or more"
        if not (np.abs(polygon) <= FARTHEST * max(hw)).all():
            return "a polygon reaches far beyond the picture"
    return ""


def _wrong_rle(size: Any, counts: Any, hw: tuple[int, int]) -> str:
    if not isinstance(counts, str | list) or not counts:
        return "RLE without `counts`"
    if size != list(hw):
        return f"RLE of {size} (height, width) in a picture of {list(hw)}"
    lengths = isinstance(counts, str) or all(type(count) is int and count >= 0 for count in counts)
    if not lengths or (isinstance(counts, list) and sum(counts) != hw[0] * hw[1]):
        return f"run lengths that do not sum up to {hw[0]} * {hw[1]} pixels"
    return ""


def single_polygon(text: str) -> list[float] | None:
    """The x, y, x, y, … of an object whose mask is one polygon; none for others."""
    if not text.startswith("[["):
        return None
    polygons: list[list[float]] = json.loads(text)
    return polygons[0] if len(polygons) == 1 else None


def encode_polygons(polygons: Sequence[Sequence[float]]) -> str:
    """Polygons, each x, y, x, y, … in pixels, as JSON text."""
    return json.dumps([[round(float(value), 2) for value in polygon] for polygon in polygons])
