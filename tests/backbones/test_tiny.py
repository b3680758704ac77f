"""Tiny backbones: their shape follows the settings, their weights the seed, and the global state is left alone."""

from typing import Any

import pytest
import torch

from dinotune import config
from dinotune.backbones.load import build_backbone
from dinotune.backbones.variants import TINY_IDS
from dinotune.errors import SettingsError


def weights(id_: str, seed: int, **shape: Any) -> dict[str, torch.Tensor]:
    settings = config.Backbone(id=id_, tiny=config.TinyShape(width=32, **shape))
    return build_backbone(settings, seed=seed)[0].state_dict()


@pytest.mark.parametrize("id_", TINY_IDS)
def test_weights_follow_the_seed_and_nothing_else(id_: str) -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = weights(id_, seed=4)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(5)
    again, other = weights(id_, seed=4), weights(id_, seed=5)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
    assert all(tensor.isfinite().all() for tensor in first.values())


@pytest.mark.parametrize(
    ("id_", "prefix", "stride", "channels"),
    [
        ("tiny-dinov2", 1, 8, 96),
        ("tiny-dinov2-reg", 5, 8, 96),
        ("tiny-dinov3", 5, 8, 96),
        ("tiny-convnext", 0, 32, 768),
    ],
)
def test_the_shape_follows_the_settings(id_: str, prefix: int, stride: int, channels: int) -> None:
    settings = config.Backbone(id=id_, tiny=config.TinyShape(width=96, patch_size=8, image_size=64))
    backbone, report = build_backbone(settings, seed=3)
    assert (backbone.prefix_tokens, backbone.patch_size, backbone.width, backbone.depth) == (
        prefix,
        stride,
        channels,
        4,
    )
    assert backbone(torch.rand(1, 3, 64, 96)).maps[0].shape == (1, channels, 64 // stride, 96 // stride)
    assert backbone.identity.sha256 is None
    assert "random weights, seed 3" in report.describe()


def test_layer_scale_is_one() -> None:
    for id_ in TINY_IDS:
        scales = [t for name, t in weights(id_, 0).items() if "gamma" in name]
        assert len(scales) in (4, 8)
        assert all(torch.equal(scale, torch.ones_like(scale)) for scale in scales)


@pytest.mark.parametrize(
    ("id_", "shape", "message"),
    [
        ("tiny-dinov2", {"width": 70}, "width: 70 is not a multiple of 32; use 96"),
        ("tiny-dinov2", {"patch_size": 14, "image_size": 225}, "225 is not a multiple of the patch 14; use 238"),
        ("tiny-convnext", {"depth": 3}, "tiny-convnext has one block per stage; use 4, not 3"),
        ("tiny-dino", {}, 'there is no "tiny-dino"; use one of tiny-dinov2'),
    ],
)
def test_shapes_that_cannot_be(id_: str, shape: dict[str, int], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        build_backbone(config.Backbone(id=id_, tiny=config.TinyShape(**shape)))
