"""Settings of the linear segmenter."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from dinotune.config.base import Section, Share
from dinotune.config.tasks import TaskName


class LinearSegmenter(Section):
    """One linear layer on each cell of the feature maps (all of `backbone.blocks`, one after the other), enlarged to pixels (Siméoni et al. 2025, DINOv3, section 6.1; Oquab et al. 2024, DINOv2, section 7.4)."""

    task: ClassVar[TaskName] = "segmentation"

    kind: Literal["linear_segmenter"] = "linear_segmenter"
    """Name of the head."""
    norm: Literal["batch", "group", "none"] = "batch"
    """Norm of what the layer reads: BatchNorm, over all GPUs where there are several; GroupNorm of 32 groups; none."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the channels that are dropped, whole maps at a time."""
    label_smoothing: Share = 0.0
    """Share of the target that is spread evenly over all classes (Szegedy et al. 2016)."""
