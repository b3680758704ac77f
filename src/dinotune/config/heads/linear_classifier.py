"""Settings of the linear classifier."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from dinotune.config.base import Section, Share
from dinotune.config.tasks import TaskName


class LinearClassifier(Section):
    """One linear layer on the CLS token and the mean of the patches of the last tap, after the final norm (Oquab et al. 2024, DINOv2, section 7.1)."""

    task: ClassVar[TaskName] = "classification"

    kind: Literal["linear_classifier"] = "linear_classifier"
    """Name of the head."""
    pooling: Literal["cls_and_patches", "cls", "patches"] = "cls_and_patches"
    """What the layer reads: the CLS token, the mean of the patch tokens, or both one after the other."""
    label_smoothing: Share = 0.0
    """Share of the target that is spread evenly over all classes (Szegedy et al. 2016)."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout on what the layer reads."""
