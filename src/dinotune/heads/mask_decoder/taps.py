"""The taps of a backbone as one sequence of tokens: each normed, bent a little, brought to one width, and summed."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from dinotune.heads.mask_decoder.rotation import cell_places, place_codes
from dinotune.heads.pyramid import SingleMap
from dinotune.types import Features

STARTING_SCALE = 0.1
"""Of what the small network adds to a tap, per channel."""

Tokens = Float[Tensor, "batch _tokens _channels"]


class Lateral(nn.Module):
    """A norm, a small network beside it, and one layer to the new width."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.bend = nn.Sequential(nn.Linear(channels, width), nn.GELU(), nn.Linear(width, channels))
        self.scale = nn.Parameter(torch.full((channels,), STARTING_SCALE))
        self.project = nn.Linear(channels, width)

    def forward(self, feature_map: Float[Tensor, "batch channels h w"], prefix: Tokens | None) -> Tokens:
        """Prefix tokens, if there are any, then the cells row by row."""
        tokens = feature_map.flatten(2).transpose(1, 2)
        if prefix is not None:
            tokens = torch.cat([prefix.to(tokens.dtype), tokens], dim=1)
        tokens = self.norm(tokens)
        answer: Tensor = self.project(tokens + self.scale * self.bend(tokens))
        return answer


class SummedTaps(nn.Module):
    """All taps at one stride: their own (the patch size), or 16 where they differ or are coarser (ConvNeXt)."""

    def __init__(self, channels: Sequence[int], strides: Sequence[int], width: int) -> None:
        super().__init__()
        self.single_map = SingleMap(channels, strides)
        self.stride = self.single_map.stride
        self.channels = tuple(channels)
        self.laterals = nn.ModuleList(Lateral(each, width) for each in channels)

    def forward(self, features: Features) -> tuple[Tokens, tuple[int, int]]:
        """Prefix tokens, if there are any, then the cells row by row with their places; height and width of the grid."""
        maps = self.single_map(features).split(self.channels, dim=1)
        prefixes = features.prefix or (None,) * len(maps)
        parts = [lateral(each, prefix) for lateral, each, prefix in zip(self.laterals, maps, prefixes, strict=True)]
        summed, grid_hw = torch.stack(parts).sum(0), (maps[0].shape[2], maps[0].shape[3])
        codes = place_codes(cell_places(grid_hw, summed.device), summed.shape[2])
        return summed + functional.pad(codes, (0, 0, summed.shape[1] - len(codes), 0)), grid_hw
