"""A light pyramid: every level from the taps nearest to its stride, projected before it is resampled.

Backbones with maps of several strides (ConvNeXt) thus lend their own; a plain ViT's one map is resampled.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn

from dinotune.heads.pyramid import base_stride
from dinotune.types import Features


class LightPyramid(nn.Module):
    """Levels at the given multiples of the backbone's stride (16 where its strides differ), each with equal channels."""

    def __init__(
        self, channels: Sequence[int], strides: Sequence[int], out_channels: int, factors: Sequence[float]
    ) -> None:
        super().__init__()
        base = base_stride(strides)
        self.sources = [_nearest(strides, base * factor) for factor in factors]
        self.levels = nn.ModuleList(
            _level(sum(channels[tap] for tap in taps), out_channels, base * factor / strides[taps[0]])
            for taps, factor in zip(self.sources, factors, strict=True)
        )

    def forward(self, features: Features) -> list[Float[Tensor, "batch channels _h _w"]]:
        return [
            level(torch.cat([features.maps[tap] for tap in taps], dim=1))
            for level, taps in zip(self.levels, self.sources, strict=True)
        ]


def _nearest(strides: Sequence[int], wanted: float) -> tuple[int, ...]:
    """All taps whose stride is nearest to the wanted one; of two that are as near, the finer."""
    best = min(strides, key=lambda stride: (abs(math.log2(stride / wanted)), stride))
    return tuple(tap for tap, stride in enumerate(strides) if stride == best)


def _level(in_channels: int, channels: int, factor: float) -> nn.Sequential:
    """Projection, then doublings or halvings of the map; ragged edges are kept (ceil)."""
    steps: list[nn.Module] = [nn.Conv2d(in_channels, channels, 1), LayerNorm2d(channels)]
    for _ in range(abs(round(math.log2(factor)))):
        resample: nn.Module = (
            nn.ConvTranspose2d(channels, channels, 2, stride=2)
            if factor < 1
            else nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        )
        steps += [nn.GELU(), resample, LayerNorm2d(channels)]
    return nn.Sequential(*steps)
