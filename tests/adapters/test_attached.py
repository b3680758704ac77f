"""Every adapter in every family of backbones: what it changes, what learns, and where the cut lies."""

import pytest
import torch

from dinotune.backbones.variants import TINY_IDS
from dinotune.errors import SettingsError
from tests.adapters.kinds import ACT_INSIDE, ADAPTERS, VITS_ONLY, adapted, learning, plain, tensors, total

PAIRS = [(id_, name) for id_ in TINY_IDS for name in ADAPTERS if id_ != "tiny-convnext" or name not in VITS_ONLY]
every_pair = pytest.mark.parametrize(("id_", "adapter"), PAIRS)


@pytest.fixture(autouse=True)
def _same_pictures() -> None:
    torch.manual_seed(0)


@every_pair
def test_the_adapter_changes_the_features(id_: str, adapter: str) -> None:
    pictures = torch.rand(2, 3, 64, 96)
    before = plain(id_)(pictures).maps[0]
    assert (adapted(id_, adapter)(pictures).maps[0] - before).abs().max() > 1e-3


@every_pair
def test_forward_is_trained_part_of_frozen_part(id_: str, adapter: str) -> None:
    """Inside a block the cut lies at its input, after a block at its raw output."""
    pictures = torch.rand(2, 3, 64, 96)
    backbone = adapted(id_, adapter, [2], taps="quarters")
    cut = backbone.frozen_part(pictures)
    whole, parts = backbone(pictures), backbone.trained_part(cut)
    assert all(torch.equal(a, b) for a, b in zip(tensors(whole), tensors(parts), strict=True))
    assert sorted(cut.taps) == [0, 1]
    place = 1 if adapter in ACT_INSIDE else 2
    expected = plain(id_, taps="quarters").frozen_part(pictures).taps[place]
    assert cut.sequence is not None
    assert torch.equal(cut.sequence, expected)
    assert not cut.sequence.requires_grad


@every_pair
def test_gradients_reach_the_adapter_and_nothing_else(id_: str, adapter: str) -> None:
    backbone = adapted(id_, adapter, taps="quarters").train()
    torch.autograd.backward(total(backbone(torch.rand(2, 3, 64, 96))))
    arrived = {name for name, p in backbone.named_parameters() if p.grad is not None and p.grad.any()}
    assert arrived == learning(backbone) == {name for name, _ in backbone.adapter_parameters()}
    assert arrived


@every_pair
def test_an_adapter_learns_from_its_tap_and_leaves_earlier_ones_alone(id_: str, adapter: str) -> None:
    pictures = torch.rand(2, 3, 64, 96)
    backbone = adapted(id_, adapter, [1], taps=(1,), tap_norm="none")
    torch.autograd.backward(total(backbone(pictures)))
    assert all(p.grad is not None and p.grad.any() for _, p in backbone.adapter_parameters())
    early = plain(id_, taps=(1, 2), tap_norm="none")(pictures).maps
    late = adapted(id_, adapter, [2], taps=(1, 2), tap_norm="none")(pictures).maps
    assert torch.equal(early[0], late[0])
    assert not torch.allclose(early[1], late[1])


@every_pair
def test_an_adapter_above_the_deepest_tap_is_refused_by_name(id_: str, adapter: str) -> None:
    with pytest.raises(SettingsError, match=r"^adapter.blocks: block 3 lies above the deepest tap"):
        adapted(id_, adapter, [1, 3], taps=(1, 2))


@every_pair
def test_frozen_blocks_stay_in_eval_and_say_the_same_twice(id_: str, adapter: str) -> None:
    backbone = adapted(id_, adapter, [2], taps="quarters")
    pictures = torch.rand(1, 3, 64, 64)
    before = backbone.frozen_part(pictures)
    parent = torch.nn.ModuleList([backbone]).train()
    again = backbone.frozen_part(pictures)
    assert all(torch.equal(before.taps[block], again.taps[block]) for block in (0, 1))
    assert not any(module.training for block in range(4) for module in backbone.block_modules(block))
    parent.eval()
    assert not any(module.training for module in backbone.modules())


@every_pair
def test_blocks_of_the_backbone_may_learn_beside_it_now_or_later(id_: str, adapter: str) -> None:
    """Cut, gradients and groups follow the stage; the adapter learns throughout and is in no stage's group."""
    stages = [{"blocks": [3]}, {"blocks": "all", "from_epoch": 2}]
    backbone = adapted(id_, adapter, [2], taps="quarters", trainable=stages).train()
    own = {name for name, _ in backbone.adapter_parameters()}
    optimised = {name for _, group in backbone.stage_parameters() for name, _ in group}
    assert not own & optimised
    for epoch, taps_before_the_cut in ((0, [0, 1]), (2, [])):
        backbone.set_epoch(epoch)
        backbone.zero_grad(set_to_none=True)
        cut = backbone.frozen_part(torch.rand(2, 3, 64, 96))
        assert sorted(cut.taps) == taps_before_the_cut
        torch.autograd.backward(total(backbone.trained_part(cut)))
        arrived = {name for name, p in backbone.named_parameters() if p.grad is not None and p.grad.any()}
        assert arrived == learning(backbone)
        assert own < arrived <= own | optimised


@every_pair
def test_a_stage_that_begins_later_does_not_change_what_the_adapter_learned(id_: str, adapter: str) -> None:
    pictures = torch.rand(1, 3, 64, 64)
    backbone = adapted(id_, adapter, taps="quarters", trainable=[{"blocks": 1, "from_epoch": 1}])
    before = backbone(pictures)
    backbone.set_epoch(1)
    assert all(
        torch.allclose(a, b, atol=1e-6) for a, b in zip(tensors(before), tensors(backbone(pictures)), strict=True)
    )
