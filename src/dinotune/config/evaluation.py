"""Settings of the evaluation."""

from typing import Literal

from dinotune.config.base import Count, Section


class Evaluation(Section):
    """On what a model is measured and how."""

    split: Literal["train", "val", "test"] = "val"
    """Split that training validates on and `evaluate` takes by default."""
    max_detections: Count = 100
    """Detections per picture that AP counts; 100 is COCO's number, dense data sets need more."""
    batch_size: Count | None = None
    """Pictures per step; none takes `training.batch_size`."""
