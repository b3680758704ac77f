"""Settings of the heads: from features to predictions."""

import itertools
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from dinotune.config.base import Count, FromKindName, NonNegativeFloat, PositiveFloat, Section, Share, Switch


class FasterRcnn(Section):
    """Faster R-CNN (Ren et al. 2015) on a simple feature pyramid (Li et al. 2022, ViTDet)."""

    kind: Literal["faster_rcnn"] = "faster_rcnn"
    """Name of the head."""
    channels: Annotated[int, Field(strict=True, ge=8, multiple_of=8)] = 256
    """Channels of every pyramid level."""
    stride_factors: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)] = (0.25, 0.5, 1, 2, 4)
    """Pyramid levels, finest first, as multiples of the backbone's stride (patch size; 16 for ConvNeXt): powers of two, each twice the one before."""
    anchor_sizes: tuple[tuple[PositiveFloat, ...], ...] | None = None
    """Anchor sides in pixels of the network input, a list per level; none takes 8 times the level's stride."""
    aspect_ratios: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)] = (0.5, 1.0, 2.0)
    """Anchor heights divided by widths, the same for every level."""
    rpn_candidates_train: Count = 2000
    """Proposals per level before non-maximum suppression while training."""
    rpn_candidates_predict: Count = 1000
    """Proposals per level before non-maximum suppression while predicting."""
    rpn_proposals_train: Count = 2000
    """Proposals per picture after non-maximum suppression while training."""
    rpn_proposals_predict: Count = 1000
    """Proposals per picture after non-maximum suppression while predicting."""
    rpn_nms_threshold: Share = 0.7
    """IoU above which the weaker of two proposals is dropped."""
    rpn_batch: Count = 256
    """Anchors per picture that the proposal loss samples."""
    roi_batch: Count = 512
    """Proposals per picture that the box loss samples."""
    roi_size: Count = 7
    """Side of the pooled window of a proposal, in cells."""
    hidden: Count = 1024
    """Width of the two fully connected layers of the box head."""
    score_threshold: Annotated[float, Field(ge=0, lt=1)] = 0.01
    """Boxes with a lower score are never predicted."""
    nms_threshold: Share = 0.5
    """IoU above which the weaker of two boxes of one class is dropped."""
    slots: Count = 100
    """Detections per picture at the most."""
    weight_objectness: NonNegativeFloat = 1.0
    """Weight of the proposals' objectness loss."""
    weight_rpn_box: NonNegativeFloat = 1.0
    """Weight of the proposals' box loss."""
    weight_class: NonNegativeFloat = 1.0
    """Weight of the class loss."""
    weight_box: NonNegativeFloat = 1.0
    """Weight of the box loss."""

    @model_validator(mode="after")
    def _levels_agree(self) -> "FasterRcnn":
        factors = self.stride_factors
        if any(b != 2 * a for a, b in itertools.pairwise(factors)):
            raise ValueError(f"stride_factors: {factors} do not double from level to level; use e.g. [0.5, 1, 2]")
        if factors[0] not in (0.25, 0.5, 1, 2, 4):
            raise ValueError(f"stride_factors: the finest level is {factors[0]}; use 0.25, 0.5, 1, 2 or 4")
        if self.anchor_sizes is not None and len(self.anchor_sizes) != len(factors):
            raise ValueError(
                f"anchor_sizes: {len(self.anchor_sizes)} lists for {len(factors)} levels; give one list per level"
            )
        counts = [len(sizes) for sizes in self.anchor_sizes or ()]
        if counts and (min(counts) == 0 or min(counts) < max(counts)):
            raise ValueError(f"anchor_sizes: the lists hold {counts} sides; give every level as many, at least one")
        return self


class CrossEntropy(Section):
    """Softmax over the classes and "no object", as in DETR."""

    kind: Literal["cross_entropy"] = "cross_entropy"
    """Name of the class loss."""
    no_object_weight: PositiveFloat = 0.1
    """Weight of queries without an object, of which there are many more."""
    cost_class: NonNegativeFloat = 1.0
    """Weight of the class probability in the matching."""
    weight_class: NonNegativeFloat = 1.0
    """Weight of the class loss."""


class Focal(Section):
    """A sigmoid per class with the focal loss (Lin et al. 2017), as in Deformable DETR."""

    kind: Literal["focal"] = "focal"
    """Name of the class loss."""
    alpha: Share = 0.25
    """Share of the loss that goes to queries with an object."""
    gamma: NonNegativeFloat = 2.0
    """How much less a confident and right answer counts."""
    prior: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """Probability of each class before training."""
    cost_class: NonNegativeFloat = 2.0
    """Weight of the focal class cost in the matching."""
    weight_class: NonNegativeFloat = 2.0
    """Weight of the class loss."""


ClassLoss = Annotated[CrossEntropy | Focal, Field(discriminator="kind"), FromKindName]


class QueryHead(Section):
    """What all heads of the DETR family share: queries, each matched to one object or to none."""

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


class Detr(QueryHead):
    """DETR (Carion et al. 2020): transformer encoder and decoder on one map, or the decoder alone."""

    kind: Literal["detr"] = "detr"
    """Name of the head."""
    encoder_layers: Annotated[int, Field(strict=True, ge=0)] = 6
    """Encoder layers; 0 lets the queries read the backbone's map directly."""


Head = Annotated[FasterRcnn | Detr, Field(discriminator="kind"), FromKindName]
