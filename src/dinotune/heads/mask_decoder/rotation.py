"""Rotary positions of cells in two dimensions (Su et al. 2021, RoFormer; Heo et al. 2024, RoPE for vision transformers).

What a query of an attention sees of a key depends on how many rows and columns lie between them.
"""

import torch
from jaxtyping import Float
from torch import Tensor

TEMPERATURE = 100.0
"""Ratio of the longest to the shortest wave, which is 2 pi cells long (Heo et al. 2024, section 3.2)."""


def cell_places(grid_hw: tuple[int, int], device: torch.device) -> Float[Tensor, "cells 2"]:
    """Row and column of each cell, row by row, counted from the centre of the grid."""
    rows, columns = (torch.arange(side, device=device) - (side - 1) / 2 for side in grid_hw)
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1).flatten(0, 1)


def rotations(places: Float[Tensor, "*tokens 2"], channels: int) -> Float[Tensor, "2 *tokens {channels}//2"]:
    """Cosine and sine of the angles for an attention head of this many channels: half of them for rows, half for columns.

    A token at (0, 0) is not turned.
    """
    quarter = channels // 4
    wave_numbers = TEMPERATURE ** -(torch.arange(quarter, device=places.device) / quarter)
    angles = (places[..., None] * wave_numbers).flatten(-2)
    return torch.stack([angles.cos(), angles.sin()])


def place_codes(places: Float[Tensor, "*tokens 2"], channels: int) -> Float[Tensor, "*tokens {channels}"]:
    """Sines and cosines of the same angles, to be added to cells: without them, objects that look alike have one mask."""
    return torch.cat(rotations(places, channels).unbind(0), dim=-1)


def turned(
    vectors: Float[Tensor, "batch heads tokens channels"], rotation: Float[Tensor, "2 batch tokens _half"]
) -> Float[Tensor, "batch heads tokens channels"]:
    """Vectors with each pair of channels (i, i + half) turned by its angle."""
    cosine, sine = rotation[:, :, None].to(vectors.dtype)
    first, second = vectors.chunk(2, dim=-1)
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine], dim=-1)
