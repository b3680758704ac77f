"""From the cells of a ViT to a finer grid, on which masks are drawn (Kerssies et al. 2025, EoMT, section 3.2)."""

import math

from timm.layers.norm import LayerNorm2d
from torch import nn

FINEST_STRIDE = 4
"""Grids are doubled until a cell is no wider, in pixels of the network input."""


def finer_grid(channels: int, stride: int) -> nn.Sequential:
    """Doubles the grid of a map of this stride until its stride is 4 at the most."""
    doublings = max(0, math.ceil(math.log2(stride / FINEST_STRIDE)))
    return nn.Sequential(*(_doubling(channels) for _ in range(doublings)))


def _doubling(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(channels, channels, 2, stride=2),
        nn.GELU(),
        nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
        LayerNorm2d(channels),
    )
