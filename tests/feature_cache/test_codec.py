"""How exact kept features are."""

import pytest
import torch
from torch import Tensor

from dinotune import config
from dinotune.feature_cache.codec import pack, unpack

PREFIX = 5


def sequences() -> Tensor:
    """Like those of a DINO model: a few channels are far larger than the others, and registers larger than patches."""
    tokens = torch.randn(4, PREFIX + 196, 384, generator=torch.Generator().manual_seed(0))
    tokens[:, :, ::50] *= 40
    tokens[:, 1:PREFIX] *= 20
    return tokens


def error(found: Tensor, tokens: Tensor) -> float:
    """Largest cosine distance of any token."""
    return float((1 - torch.cosine_similarity(found.double(), tokens.double(), dim=-1)).max())


@pytest.mark.parametrize(("storage", "limit"), [("fp32", 1e-12), ("bf16", 1e-4), ("int8", 1e-3)])
def test_features_keep_their_direction(storage: config.Storage, limit: float) -> None:
    tokens = sequences()
    packed = pack({"tap_3": tokens}, storage, PREFIX)
    assert error(unpack(packed)["tap_3"], tokens) <= limit
    one = unpack({name: tensor[2] for name, tensor in packed.items()})["tap_3"]
    assert error(one, tokens[2]) <= limit


def test_integers_take_half_the_room() -> None:
    sizes = {
        s: sum(t.nbytes for t in pack({"tap_3": sequences()}, s, PREFIX).values()) for s in ("fp32", "bf16", "int8")
    }
    assert sizes["bf16"] == sizes["fp32"] / 2
    assert sizes["int8"] < 0.55 * sizes["bf16"]


def test_each_channel_has_a_scale_of_its_own() -> None:
    tokens = torch.randn(1, PREFIX + 50, 8, generator=torch.Generator().manual_seed(1)) * 10.0 ** torch.arange(-4, 4)
    found = unpack(pack({"sequence": tokens}, "int8", PREFIX))["sequence"]
    ratio = (found - tokens)[:, PREFIX:].abs().amax(1) / tokens[:, PREFIX:].abs().amax(1)
    assert ratio.max() <= 0.5 / 127 * 1.001


def test_maps_have_their_channels_in_front() -> None:
    maps = (
        torch.randn(2, 8, 6, 6, generator=torch.Generator().manual_seed(1)) * 10.0 ** torch.arange(-4, 4)[:, None, None]
    )
    found = unpack(pack({"tap_1": maps}, "int8", 0))["tap_1"]
    assert ((found - maps).abs().amax((2, 3)) / maps.abs().amax((2, 3))).max() <= 0.5 / 127 * 1.001


@pytest.mark.parametrize("storage", ["fp32", "bf16", "int8"])
def test_guidance_is_kept_exactly(storage: config.Storage) -> None:
    guidance = torch.rand(2, 1, 14, 14)
    assert torch.equal(unpack(pack({"guidance": guidance}, storage, PREFIX))["guidance"], guidance)


def test_empty_channels_stay_empty() -> None:
    assert torch.equal(unpack(pack({"sequence": torch.zeros(1, 9, 4)}, "int8", 1))["sequence"], torch.zeros(1, 9, 4))
