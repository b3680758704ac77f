"""Settings of the adapter: what small part learns inside a frozen backbone."""

from typing import Annotated, Literal

from pydantic import Field

from dinotune.config.backbone import LearningBlocks
from dinotune.config.base import Count, FromKindName, NonNegativeFloat, PositiveFloat, Section, Switch
from dinotune.config.own import ByKind, OwnPart

LinearLayer = Literal["qkv", "proj", "fc1", "fc2"]


class Frozen(Section):
    """No adapter: the backbone is used as it is (blocks may still learn through `backbone.trainable`)."""

    kind: Literal["frozen"] = "frozen"
    """Name of the adapter."""


class LearningAdapter(Section):
    """What all adapters that learn share."""

    learning_rate_factor: PositiveFloat = 1.0
    """Learning rate of the adapter as a share of `training.learning_rate`."""
    weight_decay_factor: NonNegativeFloat = 1.0
    """Weight decay of the adapter as a share of `training.weight_decay`."""


class Lora(LearningAdapter):
    """Low-rank changes of the backbone's linear layers (Hu et al. 2021, LoRA; Liu et al. 2024, DoRA)."""

    kind: Literal["lora"] = "lora"
    """Name of the adapter."""
    rank: Count = 8
    """Rank of the change of each layer."""
    alpha: PositiveFloat = 16.0
    """The change counts alpha / rank times."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout before the change."""
    layers: Annotated[tuple[LinearLayer, ...], Field(min_length=1)] | Literal["all"] = "all"
    """Which linear layers: queries, keys and values of attention (one layer), its projection, the two of the MLP (ConvNeXt has these only), or `all`."""
    blocks: LearningBlocks = "all"
    """A number k for the last k blocks, a list of 0-based block numbers (negative ones count from the end), or `all` up to the deepest tap."""
    dora: Switch = False
    """Let each row of a changed weight have a learned length of its own (DoRA); slower."""


class NormBias(LearningAdapter):
    """Only norms and biases of the backbone's blocks learn (Ben Zaken et al. 2022, BitFit)."""

    kind: Literal["norm_bias"] = "norm_bias"
    """Name of the adapter."""
    parameters: Literal["norm", "bias", "both"] = "both"
    """What learns: weights and biases of the norms, all biases, or both."""
    blocks: LearningBlocks = "all"
    """A number k for the last k blocks, a list of 0-based block numbers (negative ones count from the end), or `all` up to the deepest tap."""


class OwnAdapter(LearningAdapter, OwnPart):
    """An adapter of your own by import path, e.g. `my_lab.adapters:ScaleAdapter`, with `options`."""


Adapter = Annotated[Frozen | Lora | NormBias | OwnAdapter, ByKind(), FromKindName]
