"""Checks of an adapter in a small frozen backbone with random weights."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from dinotune import config
from dinotune.adapters.base import Adapter
from dinotune.backbones.base import Backbone
from dinotune.backbones.load import build_backbone
from dinotune.model import KEY_BIAS
from dinotune.testing.models import TINY, size_for
from dinotune.testing.tools import awake, by_name, named, require, run_all
from dinotune.types import Features


@dataclass(frozen=True)
class AdapterTrial:
    """A kind of adapter to try, and the backbone to try it in."""

    make: Callable[[], Adapter]
    """Makes an adapter with fresh random weights."""
    settings: config.Backbone = TINY
    identity: bool = True
    """Whether features are at first what they are without it."""

    def bare(self) -> Backbone:
        """The backbone alone."""
        return build_backbone(self.settings)[0]

    def adapted(self, *, seed: int = 0, fresh: bool = False) -> Backbone:
        """The backbone with a new adapter, in eval mode; unless `fresh`, zeros of the adapter are filled."""
        backbone = self.bare()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.make().attach(backbone)
        require(bool(backbone.adapter_parameters()), "attach gives nothing that learns; use put_after or put_inside")
        if not fresh:
            awake(torch.nn.ParameterList(parameter for _, parameter in backbone.adapter_parameters()), seed)
        return backbone.eval()

    def images(self, backbone: Backbone) -> Tensor:
        """Two pictures of a size that the backbone takes."""
        return torch.rand(2, 3, *size_for(backbone), generator=torch.Generator().manual_seed(0))


def check_adapter(
    make_adapter: Callable[[], Adapter], *, backbone: config.Backbone = TINY, identity: bool = True
) -> None:
    """Run every check of `ADAPTER_CHECKS`.

    Args:
        make_adapter: Makes an adapter with fresh weights, e.g. ``partial(MyAdapter, options)``.
        backbone: Settings of the backbone to try it in.
        identity: Whether the adapter changes nothing before training.

    Raises:
        AssertionError: names all checks that failed, a line each.
    """
    run_all(ADAPTER_CHECKS, AdapterTrial(make_adapter, backbone, identity))


def it_begins_as_declared(trial: AdapterTrial) -> None:
    """As the identity, if it says so: then training starts from the pretrained features."""
    bare, adapted = trial.bare(), trial.adapted(fresh=True)
    images = trial.images(bare)
    with torch.no_grad():
        change = _distance(bare(images), adapted(images))
    if trial.identity:
        require(
            change < 1e-5,
            f"features move by {change:.2g} before training; begin as the identity, or say identity=False",
        )
    else:
        require(change >= 1e-5, "features do not move before training; say identity=True")


def it_changes_the_features(trial: AdapterTrial) -> None:
    """With weights that are not zero, the adapter does something."""
    bare, adapted = trial.bare(), trial.adapted()
    images = trial.images(bare)
    with torch.no_grad():
        change = _distance(bare(images), adapted(images))
    require(change > 1e-4, "features are the same with and without the adapter, whatever its weights")


def every_adapter_parameter_learns_and_no_other(trial: AdapterTrial) -> None:
    """Gradients reach all of the adapter; everything else is frozen."""
    backbone = trial.adapted().train()
    own = {name for name, _ in backbone.adapter_parameters()}
    learning = {name for name, parameter in backbone.named_parameters() if parameter.requires_grad}
    require(own == learning, f"the adapter's parameters and those that learn differ: {named(sorted(own ^ learning))}")
    total = _spread(backbone(trial.images(backbone)))
    require(total.requires_grad, "no gradient reaches the adapter at all")
    total.backward()
    idle = [
        name for name, parameter in backbone.adapter_parameters() if parameter.grad is None or not parameter.grad.any()
    ]
    idle = [name for name in idle if not KEY_BIAS.search(name)]
    require(not idle, f"no gradient reaches {named(idle)}")


def forward_is_the_trained_part_of_the_frozen_part(trial: AdapterTrial) -> None:
    """What is computed once and kept (the `Cut`) holds nothing that learns."""
    backbone = trial.adapted()
    images = trial.images(backbone)
    with torch.no_grad():
        cut, before = backbone.frozen_part(images), backbone(images)
        same = _distance(before, backbone.trained_part(cut))
        require(same < 1e-6, f"trained_part(frozen_part(images)) is {same:.2g} away from forward")
        for _, parameter in backbone.adapter_parameters():
            parameter.mul_(1.5)
        stale = _distance(backbone(images), backbone.trained_part(cut))
    require(stale < 1e-5, f"the frozen part depends on the adapter's weights: {stale:.2g} away after they changed")


def frozen_features_are_stable(trial: AdapterTrial) -> None:
    """The frozen part gives the same again and again, in training mode too."""
    backbone = trial.adapted()
    images = trial.images(backbone)
    with torch.no_grad():
        calm, first, second = (backbone.train(mode).frozen_part(images) for mode in (False, True, True))
    for cut in (first, second):
        pairs = [*((calm.taps[block], cut.taps[block]) for block in calm.taps), (calm.sequence, cut.sequence)]
        moved = any(a is not None and b is not None and not torch.equal(a, b) for a, b in pairs)
        require(not moved, "frozen features change in training mode; frozen modules must stay in eval")


def a_saved_adapter_gives_the_same_features(trial: AdapterTrial) -> None:
    """All that the adapter needs is in the backbone's `state_dict`."""
    backbone, other = trial.adapted(seed=0), trial.adapted(seed=1)
    images = trial.images(backbone)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        file = Path(folder) / "backbone.safetensors"
        save_file({name: tensor.clone() for name, tensor in backbone.state_dict().items()}, file)
        other.load_state_dict(load_file(file))
        change = _distance(backbone(images), other(images))
    require(change == 0, f"with the same state_dict, features are {change:.2g} apart; register parameters and buffers")


def _distance(first: Features, second: Features) -> float:
    """Largest difference of two features' maps and CLS, as a share of the largest number."""
    pairs = [*zip(first.maps, second.maps, strict=True), (first.cls, second.cls)]
    return max(((a - b).abs().max() / a.abs().max()).item() for a, b in pairs)


def _spread(features: Features) -> Tensor:
    """A number that depends on every cell in its own way."""
    generator = torch.Generator().manual_seed(0)
    maps = (*features.maps, features.cls)
    return torch.stack([(m * torch.randn(m.shape, generator=generator)).sum() for m in maps]).sum()


ADAPTER_CHECKS = by_name(
    it_begins_as_declared,
    it_changes_the_features,
    every_adapter_parameter_learns_and_no_other,
    forward_is_the_trained_part_of_the_frozen_part,
    frozen_features_are_stable,
    a_saved_adapter_gives_the_same_features,
)
"""Each takes an `AdapterTrial`."""
