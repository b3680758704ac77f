"""Deformable attention (Zhu et al. 2021, equation 3): weighted sums of map values read at a few learned points.

Two forms of one function: on a CPU one gather for all levels, else `grid_sample`, which every exporter knows.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

Values = Float[Tensor, "batch cells heads width"]
"""The cells of all levels, row by row, the first level first."""
Locations = Float[Tensor, "batch queries heads levels points 2"]
"""x and y as shares of the level: 0 is the left or upper edge of its first cell, 1 the far edge of its last."""
Weights = Float[Tensor, "batch queries heads levels points"]
Answers = Float[Tensor, "batch queries heads*width"]


def deformable_attention(
    values: Values, level_shapes: Sequence[tuple[int, int]], locations: Locations, weights: Weights
) -> Answers:
    """Per query and head, the weighted sum of what its points read bilinearly; outside of a level all is zero.

    `level_shapes` are (height, width) in cells. All is computed in the precision of `locations`.
    """
    values, weights = values.to(locations.dtype), weights.to(locations.dtype)
    if values.device.type == "cpu" and not torch.compiler.is_compiling():
        return attend_by_gather(values, level_shapes, locations, weights)
    return attend_by_grid_sample(values, level_shapes, locations, weights)


def attend_by_gather(
    values: Values, level_shapes: Sequence[tuple[int, int]], locations: Locations, weights: Weights
) -> Answers:
    """The four corners of all points of all levels as one weighted bag per query and head, summed while read."""
    rows, shares = _corners(level_shapes, locations, cells=values.shape[1])
    each = shares * weights[:, :, :, None, None]
    bags = F.embedding_bag(
        rows.flatten(0, 2).flatten(1),
        values.flatten(0, 2),
        mode="sum",
        per_sample_weights=each.flatten(0, 2).flatten(1),
    )
    answers: Tensor = bags.unflatten(0, locations.shape[:3]).flatten(2)
    return answers


def _corners(
    level_shapes: Sequence[tuple[int, int]], locations: Locations, cells: int
) -> tuple[
    Int[Tensor, "batch queries heads 2 2 levels points"], Float[Tensor, "batch queries heads 2 2 levels points"]
]:
    """The cells around each point (upper and lower, left and right): rows of `values`, and their bilinear shares."""
    batch, _, heads, _, _, _ = locations.shape
    sizes = torch.tensor([(width, height) for height, width in level_shapes]).T[:, None, None, None, :, None]
    at = locations.movedim(-1, 0) * sizes - 0.5
    low = at.detach().floor()
    beyond = at - low
    cell = torch.stack([low, low + 1], 4).int()
    inside = cell.clamp(torch.zeros((), dtype=torch.int), sizes.int()[..., None, :, :] - 1)
    share_x, share_y = torch.stack([1 - beyond, beyond], 4) * (inside == cell)
    x, y = inside
    starts = torch.tensor([0, *(height * width for height, width in level_shapes)])[:-1].cumsum(0)
    first = (torch.arange(batch)[:, None, None] * cells + starts) * heads
    first = first[:, :, None] + torch.arange(heads)[:, None]
    rows_y = y * (sizes[0, ..., None, :, :] * heads).int() + first[:, :, :, None, :, None].int()
    return rows_y[:, :, :, :, None] + (x * heads)[:, :, :, None], share_y[:, :, :, :, None] * share_x[:, :, :, None]


def attend_by_grid_sample(
    values: Values, level_shapes: Sequence[tuple[int, int]], locations: Locations, weights: Weights
) -> Answers:
    """One `grid_sample` per level, on the values as they lie (channels last)."""
    batch, _, heads, _ = values.shape
    grids = (2 * locations - 1).transpose(1, 2).flatten(0, 1)
    shares = weights.transpose(1, 2).flatten(0, 1)
    maps = values.transpose(1, 2).flatten(0, 1).transpose(1, 2)
    levels = maps.split([height * width for height, width in level_shapes], dim=2)
    read = [
        F.grid_sample(level.unflatten(2, shape), grids[:, :, index], align_corners=False)
        for index, (level, shape) in enumerate(zip(levels, level_shapes, strict=True))
    ]
    summed = (torch.stack(read, dim=-2) * shares[:, None]).sum((-2, -1))
    answers: Tensor = summed.unflatten(0, (batch, heads)).flatten(1, 2).transpose(1, 2)
    return answers
