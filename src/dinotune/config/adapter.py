"""Settings of the adapter: what small part learns inside a frozen backbone."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from dinotune.config.backbone import LearningBlocks
from dinotune.config.base import Count, FromKindName, NonNegativeFloat, PositiveFloat, Section, Switch
from dinotune.config.own import ByKind, OwnPart

LinearLayer = Literal["qkv", "proj", "fc1", "fc2"]
PresetBlocks = LearningBlocks | Literal["detection", "classification", "segmentation", "last"]


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


class Daga(LearningAdapter):
    """Dynamic attention-guided adaptation: the attention of the model's own CLS token steers what a few blocks add to the patches (ViT only)."""

    kind: Literal["daga"] = "daga"
    """Name of the adapter."""
    variant: Literal["v1", "v2"] = "v2"
    """`v2` gates a bottleneck by channel and by place and begins as the identity; `v1` gates by channel alone."""
    blocks: PresetBlocks = "detection"
    """After which blocks it acts: `detection` and `classification` (blocks 1 and 2 and the last two), `segmentation` (the last four), `last`, a number k for the last k, a list of 0-based block numbers (negative ones count from the end), or `all` up to the deepest tap."""
    ratio: PositiveFloat = 0.25
    """Width of the bottleneck as a share of the backbone's (v2 only)."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Dropout inside the bottleneck (v2 only)."""
    hidden: Count = 96
    """Width of the inner layer (v1 only)."""
    learning_rate_factor: PositiveFloat = 0.5
    """Learning rate of the adapter as a share of `training.learning_rate`."""
    weight_decay_factor: NonNegativeFloat = 0.5
    """Weight decay of the adapter as a share of `training.weight_decay`."""

    @classmethod
    def outdated(cls, old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[str, ...]:
        """What only the other variant has goes when the variant changes."""
        foreign = _FOREIGN_TO_VARIANT.get(str(new.get("variant")), ())
        return tuple(name for name in foreign if name in old and name not in new)

    @model_validator(mode="after")
    def _variant_has_its_settings(self) -> Self:
        for name in _FOREIGN_TO_VARIANT[self.variant]:
            default = type(self).model_fields[name].default
            if getattr(self, name) != default:
                other = "v2" if self.variant == "v1" else "v1"
                raise ValueError(f"{name}: variant {self.variant} has none; use variant {other}, or {default} here")
        return self


_FOREIGN_TO_VARIANT = {"v1": ("ratio", "dropout"), "v2": ("hidden",)}


class Bottleneck(LearningAdapter):
    """A plain bottleneck on the patches after some blocks (Houlsby et al. 2019): the control of `daga`.

    Of the size of `daga` (v2, ratio 0.25, four blocks) with `ratio` 0.52 for a width of 384, 0.36 for 768, 0.33 for 1024.
    """

    kind: Literal["bottleneck"] = "bottleneck"
    """Name of the adapter."""
    blocks: PresetBlocks = "detection"
    """After which blocks it acts: `detection` and `classification` (blocks 1 and 2 and the last two), `segmentation` (the last four), `last`, a number k for the last k, a list of 0-based block numbers (negative ones count from the end), or `all` up to the deepest tap."""
    ratio: PositiveFloat = 0.25
    """Width of the bottleneck as a share of the block's."""
    width: Count | None = None
    """Width of the bottleneck in channels, the same after every block; none takes `ratio`."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Dropout inside the bottleneck."""
    scale: PositiveFloat = 1.0
    """What the bottleneck adds is multiplied by this."""
    learning_rate_factor: PositiveFloat = 0.5
    """Learning rate of the adapter as a share of `training.learning_rate`."""
    weight_decay_factor: NonNegativeFloat = 0.5
    """Weight decay of the adapter as a share of `training.weight_decay`."""


class OwnAdapter(LearningAdapter, OwnPart):
    """An adapter of your own by import path, e.g. `my_lab.adapters:ScaleAdapter`, with `options`."""


Adapter = Annotated[Frozen | Lora | NormBias | Daga | Bottleneck | OwnAdapter, ByKind(), FromKindName]
