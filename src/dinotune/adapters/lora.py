"""LoRA (Hu et al. 2021) and DoRA (Liu et al. 2024): low-rank changes of a frozen backbone's linear layers, by peft."""

from typing import Any, final

from timm.models.eva import EvaAttention

from dinotune import config
from dinotune.adapters.base import Adapter
from dinotune.backbones.base import Backbone
from dinotune.backbones.plan import resolve_learning
from dinotune.errors import SettingsError


@final
class LoraAdapter(Adapter):
    """``W x`` becomes ``W x + alpha / rank B A x`` in the chosen layers; B begins at zero, so nothing changes at first.

    With DoRA each row of the changed weight keeps a learned length of its own.
    """

    def __init__(self, settings: config.Lora) -> None:
        self.settings = settings

    def attach(self, backbone: Backbone) -> None:
        """Wrap the chosen linear layers. SettingsError for layers or blocks that this backbone does not have or run."""
        from peft import LoraConfig, inject_adapter_in_model  # takes seconds

        settings, targets = self.settings, self._targets(backbone)
        names = [name for found in targets.values() for name in found]
        plan = LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,  # type: ignore[arg-type]
            lora_dropout=settings.dropout,
            use_dora=settings.dora,
            target_modules=names,
        )
        inject_adapter_in_model(plan, backbone)
        for name in names:
            holder = backbone.get_submodule(name.rpartition(".")[0])
            if isinstance(holder, EvaAttention):
                # timm would otherwise take the weight out of `qkv` and pass the change by.
                holder.qkv_bias_separate = True
        backbone.put_inside(
            {block: [p for name in found for p in _added(backbone, name)] for block, found in targets.items()},
            modules=[backbone.get_submodule(name) for name in names],
        )

    def merge(self, backbone: Backbone) -> None:
        """Add the learned changes to the weights and put plain linear layers back."""
        for found in self._targets(backbone).values():
            for name in found:
                layer: Any = backbone.get_submodule(name)
                layer.merge()
                backbone.set_submodule(name, layer.get_base_layer())
        backbone.put_inside({})

    def _targets(self, backbone: Backbone) -> dict[int, list[str]]:
        """Full names of the chosen layers by block."""
        targets = {}
        for block in resolve_learning(self.settings.blocks, backbone.depth, backbone.blocks[-1]):
            there = backbone.linear_layers(block)
            wanted = tuple(there) if self.settings.layers == "all" else dict.fromkeys(self.settings.layers)
            absent = [layer for layer in wanted if layer not in there]
            if absent:
                raise SettingsError(
                    f"adapter.layers: {backbone.identity.id} has no {' or '.join(absent)}; "
                    f"use some of {', '.join(there)}, or all"
                )
            targets[block] = [name for layer in wanted for name in there[layer]]
        return targets


def _added(backbone: Backbone, name: str) -> list[Any]:
    """Parameters that a wrapped layer has beside those of the layer itself."""
    named = backbone.get_submodule(name).named_parameters()
    return [parameter for inner, parameter in named if not inner.startswith("base_layer.")]
