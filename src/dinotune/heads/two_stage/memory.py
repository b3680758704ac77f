"""What the queries read: tokens of one or several maps, with the box that each token would propose unasked."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Memory:
    """Tokens of all levels, row by row, the first level first."""

    tokens: Float[Tensor, "batch cells channels"]
    anchors_cxcywh: Float[Tensor, "cells 4"]
    """A box around each cell, as shares of the network input; see `grid_anchors`."""
    level_shapes: tuple[tuple[int, int], ...]
    """Height and width of each level in cells."""
    positions: Float[Tensor, "cells channels"] | None
    """Positions of the cells, for attention that compares contents; none where nothing does."""


def grid_anchors(
    level_shapes: Sequence[tuple[int, int]], sides: Sequence[float], device: torch.device
) -> Float[Tensor, "cells 4"]:
    """Squares around the centres of all cells, normalised cxcywh; `sides` are those of each level's squares."""
    levels = []
    for (height, width), side in zip(level_shapes, sides, strict=True):
        y = (torch.arange(height, device=device) + 0.5) / height
        x = (torch.arange(width, device=device) + 0.5) / width
        centres = torch.stack([x.expand(height, -1), y[:, None].expand(-1, width)], dim=-1).flatten(0, 1)
        levels.append(torch.cat([centres, torch.full_like(centres, side)], dim=1))
    return torch.cat(levels)
