"""Settings of Faster R-CNN."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from dinotune.config.base import Count, NonNegativeFloat, PositiveFloat, Section, Share
from dinotune.config.heads.strides import StrideFactors
from dinotune.config.tasks import TaskName


class FasterRcnn(Section):
    """Faster R-CNN (Ren et al. 2015) on a feature pyramid: a simple one for a ViT (Li et al. 2022, ViTDet), a top-down one for ConvNeXt (Lin et al. 2017, FPN)."""

    task: ClassVar[TaskName] = "detection"

    kind: Literal["faster_rcnn"] = "faster_rcnn"
    """Name of the head."""
    channels: Annotated[int, Field(strict=True, ge=8, multiple_of=8)] = 256
    """Channels of every pyramid level."""
    stride_factors: StrideFactors = (0.25, 0.5, 1, 2, 4)
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
    roi_positives: Annotated[float, Field(gt=0, le=1)] = 0.25
    """Share of the sampled proposals that lie on an object, where there are as many; 0.5 learns classes sooner from few objects."""
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
        if self.anchor_sizes is not None and len(self.anchor_sizes) != len(factors):
            raise ValueError(
                f"anchor_sizes: {len(self.anchor_sizes)} lists for {len(factors)} levels; give one list per level"
            )
        counts = [len(sizes) for sizes in self.anchor_sizes or ()]
        if counts and (min(counts) == 0 or min(counts) < max(counts)):
            raise ValueError(f"anchor_sizes: the lists hold {counts} sides; give every level as many, at least one")
        return self
