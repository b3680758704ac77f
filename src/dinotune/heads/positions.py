"""Sine positions of cells and of boxes (Vaswani et al. 2017; Carion et al. 2020, appendix A.4)."""

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
    wavelengths = _wavelengths(channels, temperature, device)

    def along(cells: int) -> Tensor:
        angle = torch.arange(1, cells + 1, device=device) * (2 * math.pi / cells)
        angles = angle[:, None] / wavelengths
        return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)

    height, width = grid_hw
    rows = along(height)[:, None].expand(-1, width, -1)
    columns = along(width)[None].expand(height, -1, -1)
    return torch.cat([rows, columns], dim=2).flatten(0, 1)


def box_positions(
    boxes: Float[Tensor, "batch boxes 4"], channels: int, temperature: float
) -> Float[Tensor, "batch boxes 2*{channels}"]:
    """Positions of normalised boxes: half of `channels` for each of their numbers (Liu et al. 2022, DAB-DETR, section 4.2)."""
    angles = 2 * math.pi * boxes.float()[..., None] / _wavelengths(channels, temperature, boxes.device)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(2)


def _wavelengths(channels: int, temperature: float, device: torch.device) -> Float[Tensor, "pairs"]:
    """In radians over 2 pi, for pairs of sine and cosine that fill half of the channels."""
    return temperature ** (4 * torch.arange(channels // 4, device=device) / channels)
