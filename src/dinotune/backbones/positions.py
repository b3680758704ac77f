"""Positions as in Meta's code: interpolated learned ones (DINOv2) and axial RoPE (DINOv3)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

PRETRAINING_RESCALE = 2.0
"""DINOv3 was trained with RoPE coordinates scaled log-uniformly in [1/2, 2]."""


def interpolate_positions(
    positions: Float[Tensor, "1 cells width"], grid_hw: tuple[int, int], *, offset: float
) -> Float[Tensor, "1 new_cells width"]:
    """Learned positions of a square grid, resampled to another grid.

    With `offset` 0.1 (DINOv2 without registers) as Meta's code: bicubic with scale factors
    (h + 0.1) / side, which shifts the sampling points. With 0 (with registers): bicubic by size with
    antialiasing. The stored grid itself is returned as it is.
    """
    height, width = grid_hw
    side = math.isqrt(positions.shape[1])
    assert side * side == positions.shape[1], "positions lie on a square grid"
    if (height, width) == (side, side):
        return positions
    grid = positions.float().reshape(1, side, side, -1).permute(0, 3, 1, 2)
    if offset:
        scale = ((height + offset) / side, (width + offset) / side)
        grid = functional.interpolate(grid, scale_factor=scale, mode="bicubic")
    else:
        grid = functional.interpolate(grid, size=(height, width), mode="bicubic", antialias=True)
    assert grid.shape[-2:] == (height, width), "interpolation gives the grid of the image"
    return grid.flatten(2).transpose(1, 2)


def rope(
    grid_hw: tuple[int, int], head_width: int, theta: float, device: torch.device, *, rescale: bool = False
) -> Float[Tensor, "cells twice_head_width"]:
    """Sine and cosine of DINOv3's RoPE, side by side, fp32, for patch tokens in row order.

    angle = 2 pi c / theta^(4 k / head_width) for the row and column centres c in [-1, 1],
    k < head_width / 4; the four quarters of a head are row, column, row, column. `rescale` draws one
    factor for all coordinates, as in pretraining.
    """
    rows, columns = (
        2 * (torch.arange(count, dtype=torch.float32, device=device) + 0.5) / count - 1 for count in grid_hw
    )
    coordinates = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1).flatten(0, 1)
    if rescale:
        reach = math.log(PRETRAINING_RESCALE)
        coordinates = coordinates * torch.empty(1).uniform_(-reach, reach).exp().to(device)
    exponents = torch.arange(head_width // 4, dtype=torch.float32, device=device) * (4 / head_width)
    angles = (2 * math.pi * coordinates[:, :, None] / theta**exponents).flatten(1).tile(2)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
