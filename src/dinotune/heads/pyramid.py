"""From the taps of a backbone to one map, and to the levels of a feature pyramid.

Taps of one stride (a ViT) give a simple pyramid (Li et al. 2022, ViTDet), of several (ConvNeXt) a top-down one (Lin et al. 2017, FPN).
"""

import itertools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn

from dinotune.types import Features


def base_stride(strides: Sequence[int]) -> int:
    """What `stride_factors` multiply: the taps' own stride (the patch size), or 16 where they differ or are coarser."""
    return min(max(strides), 16)


def build_pyramid(
    channels: Sequence[int], strides: Sequence[int], out_channels: int, factors: Sequence[float]
) -> nn.Module:
    """The pyramid for taps of one stride or of several; it is called with Features and answers a map per level."""
    if len(set(strides)) == 1:
        return SimplePyramid(channels, strides, out_channels, factors)
    return TopDownPyramid(channels, strides, out_channels, [base_stride(strides) * factor for factor in factors])


class SingleMap(nn.Module):
    """All taps at one stride, concatenated along the channels.

    The stride is the taps' own (the patch size), or 16 where they differ or are coarser (ConvNeXt).
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int]) -> None:
        super().__init__()
        self.stride = base_stride(strides)
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

    def __init__(
        self, channels: Sequence[int], strides: Sequence[int], out_channels: int, factors: Sequence[float]
    ) -> None:
        super().__init__()
        self.single_map = SingleMap(channels, strides)
        width = self.single_map.channels
        self.resamplers = nn.ModuleList(_resampler(width, factor) for factor in factors)
        self.laterals = nn.ModuleList(
            nn.Sequential(
                _normed_convolution(width // max(1, round(1 / factor)), out_channels, 1),
                _normed_convolution(out_channels, out_channels, 3),
            )
            for factor in factors
        )

    def forward(self, features: Features) -> list[Float[Tensor, "batch channels _h _w"]]:
        feature_map = self.single_map(features)
        return [
            lateral(resampler(feature_map)) for resampler, lateral in zip(self.resamplers, self.laterals, strict=True)
        ]


class TopDownPyramid(nn.Module):
    """Levels at the given strides, from taps of several strides; what coarse taps know is added to the finer ones."""

    def __init__(
        self, channels: Sequence[int], strides: Sequence[int], out_channels: int, level_strides: Sequence[float]
    ) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.level_strides = tuple(level_strides)
        self.laterals = nn.ModuleList(_normed_convolution(width, out_channels, 1) for width in channels)
        self.outputs = nn.ModuleList(_normed_convolution(out_channels, out_channels, 3) for _ in level_strides)

    def forward(self, features: Features) -> list[Float[Tensor, "batch channels _h _w"]]:
        merged = [lateral(tap) for lateral, tap in zip(self.laterals, features.maps, strict=True)]
        for coarse, fine in itertools.pairwise(reversed(range(len(merged)))):
            merged[fine] = merged[fine] + F.interpolate(merged[coarse], merged[fine].shape[-2:], mode="nearest")
        return [
            output(self._at(stride, merged, features.image_hw))
            for output, stride in zip(self.outputs, self.level_strides, strict=True)
        ]

    def _at(self, stride: float, merged: Sequence[Tensor], image_hw: tuple[int, int]) -> Tensor:
        """The map of this stride, or the next coarser one enlarged, or the coarsest one pooled."""
        size = [math.ceil(side / stride) for side in image_hw]
        for own, feature_map in zip(self.strides, merged, strict=True):
            if own == stride:
                return feature_map
            if own > stride:
                return F.interpolate(feature_map, size, mode="nearest")
        return F.adaptive_max_pool2d(merged[-1], size)


def _normed_convolution(in_channels: int, channels: int, side: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_channels, channels, side, padding=side // 2, bias=False), LayerNorm2d(channels))


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
