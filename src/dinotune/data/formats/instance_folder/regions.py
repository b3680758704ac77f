"""The objects of a picture from a map of their numbers: boxes, areas and run lengths, without a mask for each."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int32, Int64


class Regions(NamedTuple):
    """Objects in the order of their values."""

    values: Int64[np.ndarray, "objects"]
    boxes: Float64[np.ndarray, "objects 4"]
    """Xyxy pixels; right and bottom edges lie behind the last pixel."""
    areas: Float64[np.ndarray, "objects"]
    """Pixels."""
    runs: tuple[Int64[np.ndarray, "runs 2"], ...]
    """Where each object's runs of pixels begin and end, column by column."""


def find_regions(numbers: Int32[np.ndarray, "height width"]) -> Regions:
    """All values of a map but 0, each an object."""
    height = numbers.shape[0]
    columns = numbers.T.reshape(-1)
    changes = np.flatnonzero(columns[1:] != columns[:-1]) + 1
    starts = np.concatenate([[0], changes])
    ends = np.concatenate([changes, [len(columns)]])
    owner = columns[starts].astype(np.int64)
    order = np.argsort(owner, kind="stable")
    order = order[owner[order] != 0]
    starts, ends, owner = starts[order], ends[order], owner[order]
    values, first = np.unique(owner, return_index=True)
    if not len(values):
        return Regions(values, np.empty((0, 4)), np.empty(0), ())
    wraps = starts // height != (ends - 1) // height  # on to the next column: it has the lowest and the highest pixel
    top, bottom = np.where(wraps, 0, starts % height), np.where(wraps, height - 1, (ends - 1) % height)
    edges = (
        np.minimum.reduceat(starts // height, first),
        np.minimum.reduceat(top, first),
        np.maximum.reduceat((ends - 1) // height, first) + 1,
        np.maximum.reduceat(bottom, first) + 1,
    )
    runs = np.split(np.stack([starts, ends], 1), first[1:])
    areas = np.add.reduceat(ends - starts, first)
    return Regions(values, np.stack(edges, 1).astype(np.float64), areas.astype(np.float64), tuple(runs))


def run_lengths(runs: Int64[np.ndarray, "runs 2"], pixels: int) -> list[int]:
    """COCO's counts of an object in a picture of so many pixels: of those beside it and of its own by turns."""
    edges = np.concatenate([[0], runs.reshape(-1), [pixels] * (int(runs[-1, 1]) < pixels)])
    return [int(length) for length in np.diff(edges)]
