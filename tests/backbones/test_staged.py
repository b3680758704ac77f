"""The cut and the stages: what is frozen stays so, and gradients arrive exactly where `trainable` says."""

from typing import Any

import pytest
import torch

from dinotune import config
from dinotune.backbones.base import Backbone
from dinotune.backbones.load import build_backbone
from dinotune.backbones.variants import TINY_IDS
from dinotune.types import Features

CUTS: dict[str, dict[str, Any]] = {
    "frozen": {"blocks": (0, 3)},
    "frozen, early tap": {"blocks": (1,)},
    "last block": {"blocks": "quarters", "trainable": 1},
    "middle block": {"blocks": (0, 2, 3), "trainable": [{"blocks": [1]}]},
    "first block": {"blocks": "quarters", "trainable": [{"blocks": [0]}]},
    "all": {"blocks": "quarters", "trainable": "all", "tap_norm": "none"},
    "batch norm": {"blocks": "quarters", "trainable": 2, "tap_norm": "batch_norm"},
}
EMBEDDING = ("patch_embed", "cls_token", "reg_token", "pos_embed", "stem")


@pytest.fixture(autouse=True)
def _same_pictures() -> None:
    torch.manual_seed(0)


def tiny(id_: str, **settings: Any) -> Backbone:
    shape = config.TinyShape(width=32, image_size=64)
    return build_backbone(config.Backbone(id=id_, tiny=shape, **settings))[0]


def learning(backbone: Backbone) -> set[str]:
    return {name for name, parameter in backbone.named_parameters() if parameter.requires_grad}


def block_of(name: str) -> str:
    """Which block, embedding or norm a parameter belongs to."""
    parts = name.removeprefix("encoder.").split(".")
    if parts[0] in ("blocks", "stages"):
        return parts[1]
    return "embedding" if parts[0] in EMBEDDING else "norm"


def total(features: Features) -> torch.Tensor:
    """A scalar that every map and token influences, unlike a plain sum (LayerNorm would cancel it)."""
    tensors = [*features.maps, *features.prefix, features.cls]
    generator = torch.Generator().manual_seed(7)
    return sum((t * torch.randn(t.shape, generator=generator)).sum() for t in tensors)  # type: ignore[return-value]


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("id_", TINY_IDS)
def test_forward_is_trained_part_of_frozen_part(id_: str, cut: str) -> None:
    backbone = tiny(id_, **CUTS[cut])
    pictures = torch.rand(2, 3, 64, 96)
    whole = backbone(pictures)
    parts = backbone.frozen_part(pictures)
    again = backbone.trained_part(parts)
    for one, two in zip((*whole.maps, *whole.prefix, whole.cls), (*again.maps, *again.prefix, again.cls), strict=True):
        assert torch.equal(one, two)
    assert (parts.sequence is None) is cut.startswith("frozen")
    assert not any(tensor.requires_grad for tensor in (*parts.taps.values(), parts.sequence) if tensor is not None)
    frozen = tiny(id_, blocks=CUTS[cut]["blocks"], tap_norm=CUTS[cut].get("tap_norm", "final_norm"))(pictures)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(frozen.maps, whole.maps, strict=True))


@pytest.mark.parametrize("id_", TINY_IDS)
def test_taps_below_the_cut_are_kept_and_others_not(id_: str) -> None:
    parts = tiny(id_, blocks="quarters", trainable=[{"blocks": [2]}]).frozen_part(torch.rand(1, 3, 64, 64))
    assert sorted(parts.taps) == [0, 1]
    assert tiny(id_, trainable="all").frozen_part(torch.ones(1, 3, 64, 64)).sequence is not None


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("id_", TINY_IDS)
def test_gradients_arrive_exactly_where_trainable_says(id_: str, cut: str) -> None:
    backbone = tiny(id_, **CUTS[cut])
    backbone.train()
    features = backbone(torch.rand(2, 3, 64, 96))
    if learning(backbone):
        torch.autograd.backward(total(features))
    arrived = {
        name for name, parameter in backbone.named_parameters() if parameter.grad is not None and parameter.grad.any()
    }
    assert arrived == learning(backbone)
    encoder = {block_of(name) for name in learning(backbone) if name.startswith("encoder")}
    wanted = {
        "frozen": set(),
        "frozen, early tap": set(),
        "last block": {"3", "norm"},
        "middle block": {"1", "norm"},
        "first block": {"0", "norm"},
        "all": {"0", "1", "2", "3", "embedding", "norm"},
        "batch norm": {"2", "3", "norm"},
    }[cut]
    assert encoder == wanted
    assert any(name.startswith("tap_norms") for name in learning(backbone)) is (cut == "batch norm")


@pytest.mark.parametrize("id_", TINY_IDS)
def test_later_stages_add_to_earlier_ones(id_: str) -> None:
    stages = [
        {"blocks": 1, "learning_rate": 1e-5},
        {"blocks": [1], "from_epoch": 2},
        {"blocks": "all", "from_epoch": 5},
    ]
    backbone = tiny(id_, trainable=stages)
    backbone.train()
    expected = {0: {"3", "norm"}, 1: {"3", "norm"}, 2: {"1", "3", "norm"}, 5: {"0", "1", "2", "3", "embedding", "norm"}}
    changes = []
    optimised = {name for _, group in backbone.stage_parameters() for name, _ in group}
    for epoch, blocks in expected.items():
        changes.append(backbone.set_epoch(epoch))
        backbone.zero_grad(set_to_none=True)
        torch.autograd.backward(total(backbone(torch.rand(2, 3, 64, 64))))
        arrived = {name for name, p in backbone.named_parameters() if p.grad is not None and p.grad.any()}
        assert {block_of(name) for name in arrived} == blocks
        assert arrived == learning(backbone)
        assert arrived <= optimised
    assert changes == [False, False, True, True]
    assert backbone.set_epoch(0) is True
    assert {block_of(name) for name in learning(backbone)} == expected[0]


def test_every_parameter_is_in_one_group_by_its_first_stage() -> None:
    stages = [{"blocks": "all", "from_epoch": 5, "learning_rate": 1e-6}, {"blocks": 2, "learning_rate": 1e-5}]
    backbone = tiny("tiny-dinov2", blocks="quarters", tap_norm="batch_norm", trainable=stages)
    groups = dict(backbone.stage_parameters())
    names = {rate: {block_of(name) for name, _ in group} for rate, group in groups.items()}
    assert {name.split(".")[0] for name, _ in groups[None]} == {"tap_norms"}
    assert names[1e-5] == {"2", "3", "norm"}
    assert names[1e-6] == {"0", "1", "embedding"}
    every = [id(parameter) for group in groups.values() for _, parameter in group]
    assert sorted(every) == sorted(id(parameter) for parameter in backbone.parameters())


@pytest.mark.parametrize("id_", TINY_IDS)
def test_frozen_features_are_identical_across_calls_in_train_mode(id_: str) -> None:
    backbone = tiny(id_, blocks="quarters", trainable=1)
    pictures = torch.rand(1, 3, 64, 64)
    before = backbone(pictures)
    parent = torch.nn.ModuleList([backbone]).train()
    assert parent.training
    assert backbone.training
    for _ in range(2):
        again = backbone(pictures)
        assert all(torch.equal(a, b) for a, b in zip(before.maps, again.maps, strict=True))
    modes = {block_of(name): module.training for name, module in backbone.named_modules() if "blocks." in name}
    assert modes == {"0": False, "1": False, "2": False, "3": True}
    parent.eval()
    assert not any(module.training for module in backbone.modules())


def test_the_final_norm_does_not_learn_where_no_map_goes_through_it() -> None:
    backbone = tiny("tiny-dinov3", blocks=(1, 2), tap_norm="none", trainable=[{"blocks": [2]}])
    assert {block_of(name) for name in learning(backbone)} == {"2"}


def test_frozen_features_can_feed_a_head_that_learns() -> None:
    """They are made under no_grad; inference tensors could not be saved for backward."""
    features = tiny("tiny-dinov3")(torch.rand(1, 3, 64, 64))
    head = torch.nn.Conv2d(32, 2, 1)
    head(features.maps[0]).sum().backward()
    assert head.weight.grad is not None
    assert head.weight.grad.any()
    assert not features.maps[0].is_inference()


def test_the_frozen_part_records_nothing_for_backward() -> None:
    pictures = torch.rand(1, 3, 64, 64).requires_grad_()
    parts = tiny("tiny-dinov3", blocks=(0, 3), trainable=1).frozen_part(pictures)
    assert parts.sequence is not None
    assert not parts.sequence.requires_grad
    assert not parts.taps[0].requires_grad
