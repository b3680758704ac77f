"""Maps and pyramid levels from taps of one stride and of several."""

from collections.abc import Sequence

import pytest
import torch

from dinotune.heads.pyramid import SimplePyramid, SingleMap, TopDownPyramid, base_stride, build_pyramid
from dinotune.types import Features

CONVNEXT = (4, 8, 16, 32)


def features_of(channels: Sequence[int], strides: Sequence[int], image_hw: tuple[int, int]) -> Features:
    sizes = [tuple(-(-side // stride) for side in image_hw) for stride in strides]
    maps = tuple(torch.randn(1, width, *size) for width, size in zip(channels, sizes, strict=True))
    return Features(maps, tuple(strides), torch.zeros(1, 64), (), image_hw)


def test_several_taps_are_brought_to_one_stride() -> None:
    features = features_of((8, 16, 32, 64), CONVNEXT, (128, 160))
    merged = SingleMap((8, 16, 32, 64), CONVNEXT)(features)
    assert merged.shape == (1, 120, 8, 10)
    assert torch.equal(merged[:, 24:56], features.maps[2])


@pytest.mark.parametrize(
    ("strides", "factors", "kind"),
    [
        ((16,), (0.25, 1, 4), SimplePyramid),
        ((14, 14), (0.5, 1), SimplePyramid),
        ((32,), (0.25, 0.5, 1, 2), SimplePyramid),
        (CONVNEXT, (0.25, 0.5, 1, 2, 4), TopDownPyramid),
        ((8, 32), (0.25, 0.5, 1, 2, 4), TopDownPyramid),
    ],
)
@pytest.mark.parametrize("image_hw", [(224, 448), (224, 672)])
def test_levels_have_the_declared_strides(
    strides: tuple[int, ...], factors: tuple[float, ...], kind: type, image_hw: tuple[int, int]
) -> None:
    channels = [8 * (1 + number) for number in range(len(strides))]
    pyramid = build_pyramid(channels, strides, 16, factors)
    assert isinstance(pyramid, kind)
    level_strides = [base_stride(strides) * factor for factor in factors]
    levels = pyramid(features_of(channels, strides, image_hw))
    expected = [(1, 16, *(int(-(-side // stride)) for side in image_hw)) for stride in level_strides]
    assert [tuple(level.shape) for level in levels] == expected


def test_what_coarse_taps_know_reaches_the_finest_level_and_not_the_other_way() -> None:
    torch.manual_seed(0)
    channels = (8, 16, 32, 64)
    pyramid = build_pyramid(channels, CONVNEXT, 16, (0.25, 0.5, 1, 2))
    features = features_of(channels, CONVNEXT, (128, 160))
    for feature_map in features.maps:
        feature_map.requires_grad_()
    levels = pyramid(features)
    levels[0].square().sum().backward(retain_graph=True)
    assert all(feature_map.grad is not None and feature_map.grad.any() for feature_map in features.maps)
    features.maps[0].grad = None
    levels[3].square().sum().backward()
    assert features.maps[0].grad is None
