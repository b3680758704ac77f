"""Settings that all heads of the DETR family share."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from dinotune.config.base import Count, NonNegativeFloat, PositiveFloat, Section, Switch
from dinotune.config.heads.class_loss import ClassLoss, CrossEntropy
from dinotune.config.tasks import TaskName


class QueryHead(Section):
    """What all heads of the DETR family share: queries, each matched to one object or to none."""

    task: ClassVar[TaskName] = "detection"
    idle: ClassVar[Mapping[tuple[str, Any], tuple[str, ...]]] = {}
    """Settings that have nothing to do where another one has a value, by its name and that value."""

    channels: Annotated[int, Field(strict=True, ge=8, multiple_of=4)] = 256
    """Width of queries and memory."""
    decoder_layers: Count = 6
    """Decoder layers."""
    attention_heads: Count = 8
    """Heads of each attention; they divide `channels`."""
    feedforward: Count = 2048
    """Width of the feed-forward layers."""
    temperature: PositiveFloat = 20.0
    """Ratio of the longest to the shortest wave of the sine positions; DETR's is 10000, 20 tells neighbouring cells apart sooner (Liu et al. 2022, DAB-DETR)."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Dropout in attention and feed-forward layers."""
    queries: Count = 100
    """Objects that can be found in one picture."""
    slots: Count = 100
    """Detections per picture at the most: the best of all queries and classes."""
    class_loss: ClassLoss = CrossEntropy()
    """Class probabilities and their loss."""
    cost_l1: NonNegativeFloat = 5.0
    """Weight of the L1 distance of the boxes in the matching."""
    cost_giou: NonNegativeFloat = 2.0
    """Weight of the generalised IoU in the matching."""
    weight_l1: NonNegativeFloat = 5.0
    """Weight of the L1 loss of the boxes."""
    weight_giou: NonNegativeFloat = 2.0
    """Weight of the generalised IoU loss of the boxes."""
    auxiliary_losses: Switch = True
    """Let every decoder layer answer and learn by itself, with a matching of its own."""

    @model_validator(mode="after")
    def _heads_divide_channels(self) -> Self:
        if self.channels % self.attention_heads:
            fitting = max(n for n in range(1, self.attention_heads + 1) if self.channels % n == 0)
            raise ValueError(
                f"attention_heads: {self.attention_heads} do not divide channels {self.channels}; use {fitting}"
            )
        return self
