"""The checks of adapters pass a good adapter, and each finds the mistake that it is there for."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from jaxtyping import Float
from torch import Tensor, nn

from dinotune.adapters.base import Adapter
from dinotune.backbones.base import Backbone
from dinotune.backbones.slots import AfterBlocks
from dinotune.testing import ADAPTER_CHECKS, AdapterTrial, check_adapter

Patches = Float[Tensor, "batch cells width"]


class Good(AfterBlocks):
    """Adds a linear function of the patches, at first zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.blocks = (0, 1)
        self.layer = nn.Linear(width, width)
        nn.init.zeros_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)

    def forward(self, block: int, patches: Patches, grid_hw: tuple[int, int], context: Any) -> Patches:  # noqa: ARG002
        return patches + self.layer(patches)  # type: ignore[no-any-return]


class Loud(Good):
    """Does not begin as the identity."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        nn.init.normal_(self.layer.weight)


class Idle(Good):
    """Has a parameter that nothing uses."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.idle = nn.Parameter(torch.ones(3))


class Forgetful(Good):
    """Keeps what it needs where no file holds it."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.factor = torch.rand(1)

    def forward(self, block: int, patches: Patches, grid_hw: tuple[int, int], context: Any) -> Patches:
        return patches + self.factor * (super().forward(block, patches, grid_hw, context) - patches)


class Attaching(Adapter):
    def __init__(self, module: type[Good]) -> None:
        self.module = module

    def attach(self, backbone: Backbone) -> None:
        backbone.put_after(self.module(backbone.width))


class Mute(Attaching):
    """Detaches its own part from what it computes: nothing comes of it."""

    def attach(self, backbone: Backbone) -> None:
        super().attach(backbone)
        assert backbone.after_blocks is not None
        backbone.after_blocks.blocks = ()


class Greedy(Attaching):
    """Lets a block of the backbone learn without saying so."""

    def attach(self, backbone: Backbone) -> None:
        super().attach(backbone)
        for module in backbone.block_modules(1):
            module.requires_grad_(True)


class Restless(Attaching):
    """Puts dropout into a frozen block, where it is on in training mode."""

    def attach(self, backbone: Backbone) -> None:
        super().attach(backbone)

        def noise(_: nn.Module, __: Any, output: Tensor) -> Tensor:
            return output * (1 + 0.1 * torch.rand_like(output)) if backbone.training else output

        backbone.block_modules(0)[0].register_forward_hook(noise)


class Early(Attaching):
    """Changes the frozen part by weights that learn."""

    def attach(self, backbone: Backbone) -> None:
        super().attach(backbone)
        layer = backbone.adapter_parameters()[0][1]
        backbone.block_modules(0)[0].register_forward_hook(lambda _, __, output: output + layer.sum())


MISTAKES: dict[str, tuple[Callable[[], Adapter], str]] = {
    "it_begins_as_declared": (partial(Attaching, Loud), "begin as the identity, or say identity=False"),
    "every_adapter_parameter_learns_and_no_other": (partial(Attaching, Idle), "no gradient reaches after_blocks.idle"),
    "forward_is_the_trained_part_of_the_frozen_part": (partial(Early, Good), "the frozen part depends on the adapter"),
    "frozen_features_are_stable": (partial(Restless, Good), "frozen features change in training mode"),
    "a_saved_adapter_gives_the_same_features": (partial(Attaching, Forgetful), "register parameters and buffers"),
}


def failures(trial: AdapterTrial) -> dict[str, str]:
    found = {}
    for name, check in ADAPTER_CHECKS.items():
        try:
            check(trial)
        except AssertionError as error:
            found[name] = str(error)
    return found


def test_a_good_adapter_passes() -> None:
    check_adapter(partial(Attaching, Good))
    with pytest.raises(AssertionError, match="it_begins_as_declared: features do not move"):
        check_adapter(partial(Attaching, Good), identity=False)


@pytest.mark.parametrize("name", MISTAKES)
def test_a_check_finds_its_mistake_and_no_other_does(name: str) -> None:
    make, message = MISTAKES[name]
    found = failures(AdapterTrial(make))
    assert list(found) == [name]
    assert message in found[name]


def test_an_adapter_that_does_nothing() -> None:
    found = failures(AdapterTrial(partial(Mute, Good)))
    assert "reaches the adapter at all" in found["every_adapter_parameter_learns_and_no_other"]
    assert "whatever its weights" in found["it_changes_the_features"]


def test_a_block_that_learns_unasked() -> None:
    found = failures(AdapterTrial(partial(Greedy, Good)))
    assert (
        "the adapter's parameters and those that learn differ" in found["every_adapter_parameter_learns_and_no_other"]
    )


def test_an_adapter_without_parameters() -> None:
    class Nothing(Adapter):
        def attach(self, backbone: Backbone) -> None:
            pass

    with pytest.raises(AssertionError, match="attach gives nothing that learns"):
        check_adapter(Nothing)
