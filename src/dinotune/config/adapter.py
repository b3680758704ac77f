"""Settings of the adapter: what small part learns inside a frozen backbone."""

from typing import Annotated, Literal

from dinotune.config.backbone import LearningBlocks
from dinotune.config.base import FromKindName, NonNegativeFloat, PositiveFloat, Section
from dinotune.config.own import ByKind, OwnPart


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


Adapter = Annotated[Frozen | NormBias | OwnAdapter, ByKind(), FromKindName]
