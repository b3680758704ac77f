"""Sine positions of a grid of cells (Vaswani et al. 2017; Carion et al. 2020, appendix A.4)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def sine_positions(
    grid_hw: tuple[int, int], channels: int, temperature: float, device: torch.device
) -> Float[Tensor, "cells channels"]:
    """Positions of the cells row by row: half of the channels for y, half for x, sine and cosine in turn.

    A side of the grid is 2 pi long whatever its number of cells, so that other sizes look alike.
    """
    pairs = torch.arange(channels // 4, device=device)
    wavelengths = temperature ** (4 * pairs / channels)

    def along(cells: int) -> Tensor:
        angle = torch.arange(1, cells + 1, device=device) * (2 * math.pi / cells)
        angles = angle[:, None] / wavelengths
        return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)

    height, width = grid_hw
    rows = along(height)[:, None].expand(-1, width, -1)
    columns = along(width)[None].expand(height, -1, -1)
    return torch.cat([rows, columns], dim=2).flatten(0, 1)
