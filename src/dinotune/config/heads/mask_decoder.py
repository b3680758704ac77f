"""Settings of the mask decoder, for a class per pixel and for objects with a mask each."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from dinotune.config.base import Count, NonNegativeFloat, PositiveFloat, Section, Switch
from dinotune.config.tasks import TaskName


class MaskHead(Section):
    """What both mask decoders share: queries, each matched to one mask or to none."""

    channels: Annotated[int, Field(strict=True, ge=8, multiple_of=4)] = 256
    """Width of queries and cells."""
    decoder_layers: Count = 4
    """Layers in which queries and cells look at each other."""
    attention_heads: Count = 8
    """Heads of each attention; `channels` is a multiple of four times their number."""
    feedforward: Count = 1024
    """Width of the feed-forward layers."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout of what attention and feed-forward layers add."""
    queries: Count = 100
    """Masks that can be found in one picture."""
    query_start: Literal["learned", "tokens"] = "learned"
    """What queries begin as: learned vectors, or the cells of the picture that look most like a class, which learn to (Zhang et al. 2023, DINO)."""
    points: Count = 12544
    """Places at which masks are compared (Cheng et al. 2022, Mask2Former): all cells of the mask where they are no more, else random ones, most of them where the mask is unsure."""
    no_object_weight: PositiveFloat = 0.1
    """Weight of queries without a mask, of which there are many more."""
    cost_class: NonNegativeFloat = 2.0
    """Weight of the class probability in the matching."""
    cost_mask: NonNegativeFloat = 5.0
    """Weight of the cross-entropy of the masks in the matching."""
    cost_dice: NonNegativeFloat = 5.0
    """Weight of the dice distance of the masks in the matching."""
    weight_class: NonNegativeFloat = 2.0
    """Weight of the class loss."""
    weight_mask: NonNegativeFloat = 5.0
    """Weight of the cross-entropy of the masks."""
    weight_dice: NonNegativeFloat = 5.0
    """Weight of the dice loss of the masks."""
    auxiliary_losses: Switch = True
    """Let every decoder layer answer and learn by itself, with a matching of its own."""

    @model_validator(mode="after")
    def _heads_divide_channels(self) -> Self:
        if self.channels % (4 * self.attention_heads):
            fitting = max(n for n in range(1, self.attention_heads + 1) if self.channels % (4 * n) == 0)
            raise ValueError(
                f"attention_heads: channels {self.channels} are no multiple of 4 * {self.attention_heads}; use {fitting}"
            )
        return self


class MaskDecoder(MaskHead):
    """Queries that read frozen tokens through a few new transformer layers, each answering for the pixels of one class (Cheng et al. 2021, MaskFormer; Kerssies et al. 2025, EoMT)."""

    task: ClassVar[TaskName] = "segmentation"

    kind: Literal["mask_decoder"] = "mask_decoder"
    """Name of the head."""


class InstanceMaskDecoder(MaskHead):
    """Queries that read frozen tokens through a few new transformer layers, each answering for one object with its mask (Cheng et al. 2021, MaskFormer; Kerssies et al. 2025, EoMT)."""

    task: ClassVar[TaskName] = "instance_segmentation"

    kind: Literal["instance_mask_decoder"] = "instance_mask_decoder"
    """Name of the head."""
    queries: Count = 200
    """Objects that can be found in one picture."""
    query_start: Literal["learned", "tokens"] = "tokens"
    """What queries begin as: learned vectors, or the cells of the picture that look most like a class, which learn to (Zhang et al. 2023, DINO)."""
    slots: Count = 100
    """Objects per picture at the most: the best of all queries and classes."""
