"""Norms and biases of the backbone's blocks learn, nothing else (BitFit, Ben Zaken et al. 2022)."""

from typing import final

from torch import nn

from dinotune import config
from dinotune.adapters.base import Adapter
from dinotune.backbones.base import Backbone
from dinotune.backbones.plan import resolve_learning


@final
class NormBiasAdapter(Adapter):
    """Learning norms, biases or both in some blocks; nothing is added to the backbone."""

    def __init__(self, settings: config.NormBias) -> None:
        self.settings = settings

    def attach(self, backbone: Backbone) -> None:
        """Let norms and biases learn. SettingsError for blocks that this backbone does not run."""
        blocks = resolve_learning(self.settings.blocks, backbone.depth, backbone.blocks[-1])
        backbone.put_inside({block: self._chosen(backbone.block_modules(block)) for block in blocks})

    def merge(self, backbone: Backbone) -> None:
        """Nothing to fold: the weights are the backbone's own."""
        backbone.put_inside({})

    def _chosen(self, modules: list[nn.Module]) -> list[nn.Parameter]:
        """Biases are all tensors called so, those of norms and of DINOv3's queries and values (`q_bias`) too."""
        within = [module for whole in modules for module in whole.modules()]
        norms = [p for module in within if isinstance(module, nn.LayerNorm) for p in module.parameters()]
        biases = [p for whole in modules for name, p in whole.named_parameters() if name.endswith("bias")]
        match self.settings.parameters:
            case "norm":
                chosen = norms
            case "bias":
                chosen = biases
            case "both":
                chosen = norms + biases
        return list({id(parameter): parameter for parameter in chosen}.values())
