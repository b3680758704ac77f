"""What a view shows of masks: for each pixel of the network input, the mask's pixel below its centre."""

import math
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float64, Int16, Int64
from torch import Tensor

from dinotune.config.tasks import IGNORED
from dinotune.data.transforms import View

TRIES = 10
"""Places that are tried for a crop (Chen et al. 2020, MMSegmentation)."""


def seen_masks(masks: np.ndarray, view: View, network_hw: tuple[int, int], outside: int) -> Tensor:
    """Masks [masks, height, width] as `apply_view` shows their picture: [masks, *network_hw], of the same type.

    Nothing is mixed: every value is one of the mask (nearest pixel), or `outside` beside a turned picture.
    """
    top, left, height, width = view.window((masks.shape[1], masks.shape[2]))
    down, across = _centres(network_hw[0], height), _centres(network_hw[1], width)
    if view.flip_vertical:
        down = down[::-1]
    if view.flip:
        across = across[::-1]
    if not view.rotation:
        rows, columns = (top + down).astype(np.int64), (left + across).astype(np.int64)
        return torch.from_numpy(np.ascontiguousarray(masks[:, rows[:, None], columns[None, :]]))
    middle = (top + height / 2, left + width / 2)
    rows, columns = _turned(down - height / 2, across - width / 2, view.rotation, middle)
    inside = (rows >= 0) & (rows < masks.shape[1]) & (columns >= 0) & (columns < masks.shape[2])
    seen = masks[:, rows.clip(0, masks.shape[1] - 1), columns.clip(0, masks.shape[2] - 1)]
    return torch.from_numpy(np.where(inside, seen, np.array(outside, masks.dtype)))


def _centres(count: int, length: int) -> Float64[np.ndarray, "count"]:
    """Where the centres of `count` pixels lie in `length` pixels of the mask."""
    return (np.arange(count) + 0.5) * (length / count)


def _turned(
    down: Float64[np.ndarray, "rows"],
    across: Float64[np.ndarray, "columns"],
    degrees: float,
    middle: tuple[float, float],
) -> tuple[Int64[np.ndarray, "rows columns"], Int64[np.ndarray, "rows columns"]]:
    """Rows and columns of the picture below points of a turned cut-out, which are measured from its middle."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    rows = middle[0] + sine * across[None, :] + cosine * down[:, None]
    columns = middle[1] + cosine * across[None, :] - sine * down[:, None]
    return np.floor(rows).astype(np.int64), np.floor(columns).astype(np.int64)


def varied_view(
    view: View, class_map: Int16[np.ndarray, "height width"], most: float, generator: np.random.Generator
) -> View:
    """The view, or one of its size elsewhere in which no class fills more than the share `most` of what counts.

    The last place is taken where all fail. A view of the whole picture stays.
    """
    whole = view.height >= 1 and view.width >= 1
    for _ in range(0 if whole or most >= 1 else TRIES):
        top, left, height, width = view.window((class_map.shape[0], class_map.shape[1]))
        counts = np.bincount(class_map[top : top + height, left : left + width].ravel() - IGNORED)
        counted = counts[-IGNORED:]
        if counted.any() and counted.max() <= most * counted.sum():
            break
        down, across = generator.random(2)
        view = replace(view, top=down * (1 - view.height), left=across * (1 - view.width))
    return view
