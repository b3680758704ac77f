"""From the taps of a plain ViT to one map, and from one map to a simple feature pyramid.

Li et al. 2022, "Exploring Plain Vision Transformer Backbones for Object Detection" (ViTDet).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn

from dinotune.types import Features


class SingleMap(nn.Module):
    """All taps at one stride, concatenated along the channels.

    The stride is the taps' own (the patch size), or 16 where they differ or are coarser (ConvNeXt).
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int]) -> None:
        super().__init__()
        self.stride = min(max(strides), 16)
        self.channels = sum(channels)

    def forward(self, features: Features) -> Float[Tensor, "batch channels h w"]:
        height, width = (-(-side // self.stride) for side in features.image_hw)
        maps = [
            feature_map
            if feature_map.shape[-2:] == (height, width)
            else F.interpolate(feature_map, (height, width), mode="bilinear", align_corners=False)
            for feature_map in features.maps
        ]
        return torch.cat(maps, dim=1)


class SimplePyramid(nn.Module):
    """Levels at the given multiples of one map's stride, each with the same number of channels."""

    def __init__(self, in_channels: int, channels: int, factors: Sequence[float]) -> None:
        super().__init__()
        self.resamplers = nn.ModuleList(_resampler(in_channels, factor) for factor in factors)
        self.laterals = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(in_channels // max(1, round(1 / factor)), channels, 1, bias=False),
                LayerNorm2d(channels),
                nn.Conv2d(channels, channels, 3, padding=1, bias=False),
                LayerNorm2d(channels),
            )
            for factor in factors
        )

    def forward(
        self, feature_map: Float[Tensor, "batch in_channels h w"]
    ) -> list[Float[Tensor, "batch channels _h _w"]]:
        return [
            lateral(resampler(feature_map)) for resampler, lateral in zip(self.resamplers, self.laterals, strict=True)
        ]


def _resampler(channels: int, factor: float) -> nn.Module:
    """Transposed convolutions to finer levels, max pooling to coarser ones; ragged edges are kept (ceil)."""
    if factor >= 1:
        pools = [nn.MaxPool2d(2, ceil_mode=True) for _ in range(round(factor).bit_length() - 1)]
        return nn.Sequential(*pools)
    half = nn.ConvTranspose2d(channels, channels // 2, 2, stride=2)
    if factor == 0.5:
        return half
    quarter = nn.ConvTranspose2d(channels // 2, channels // 4, 2, stride=2)
    return nn.Sequential(half, LayerNorm2d(channels // 2), nn.GELU(), quarter)
