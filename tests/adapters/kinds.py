"""The adapters that every test of adapters runs over, and backbones that carry them."""

from typing import Any

import torch
from torch import nn

from dinotune import config
from dinotune.backbones.base import Backbone
from dinotune.backbones.load import build_backbone
from dinotune.build import build_adapter
from dinotune.types import Features

ADAPTERS: dict[str, dict[str, Any]] = {
    "lora": {"kind": "lora", "rank": 4},
    "dora": {"kind": "lora", "rank": 4, "dora": True},
    "norm_bias": {"kind": "norm_bias"},
    "daga v1": {"kind": "daga", "variant": "v1"},
    "daga v2": {"kind": "daga"},
    "bottleneck": {"kind": "bottleneck"},
}
"""Settings of each adapter but its blocks."""
ACT_INSIDE = {"lora", "dora", "norm_bias"}
"""Adapters that learn inside blocks; all others act after them."""
VITS_ONLY = {"daga v1", "daga v2"}
"""Adapters that ConvNeXt cannot have."""


def settings_of(name: str, **more: Any) -> Any:
    """The settings section of an adapter, with changes."""
    return config.Experiment.model_validate({"adapter": {**ADAPTERS[name], **more}}).adapter


def plain(id_: str, taps: Any = "last", **settings: Any) -> Backbone:
    """A tiny backbone of four blocks without an adapter."""
    shape = config.TinyShape(width=32, image_size=64)
    return build_backbone(config.Backbone(id=id_, tiny=shape, blocks=taps, **settings))[0]


def adapted(id_: str, adapter: str, blocks: Any = "all", *, shown: bool = True, **settings: Any) -> Backbone:
    """The same with an adapter; `shown` moves the adapter's zeros, so that it changes the features."""
    backbone = plain(id_, **settings)
    built = build_adapter(settings_of(adapter, blocks=blocks))
    assert built is not None
    with torch.random.fork_rng():
        torch.manual_seed(3)
        built.attach(backbone)
        if shown:
            randomise(backbone)
    return backbone.eval()


@torch.no_grad()
def randomise(backbone: Backbone) -> None:
    """Move every parameter of the adapter a little."""
    for _, parameter in backbone.adapter_parameters():
        parameter.add_(torch.randn_like(parameter) * 0.1)


def learning(module: nn.Module) -> set[str]:
    """Names of the parameters that learn now."""
    return {name for name, parameter in module.named_parameters() if parameter.requires_grad}


def tensors(features: Features) -> list[torch.Tensor]:
    """Everything that features hold."""
    return [*features.maps, *features.prefix, features.cls]


def total(features: Features) -> torch.Tensor:
    """A scalar that every map and token influences, unlike a plain sum (LayerNorm would cancel it)."""
    generator = torch.Generator().manual_seed(7)
    return torch.stack([(t * torch.randn(t.shape, generator=generator)).sum() for t in tensors(features)]).sum()
