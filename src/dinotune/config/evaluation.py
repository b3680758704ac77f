"""Settings of the evaluation."""

from typing import Literal

from dinotune.config.base import Count, Section


class Evaluation(Section):
    """On what a model is measured and how."""

    split: Literal["train", "val", "test"] = "val"
    """Split that training validates on and `evaluate` takes by default."""
    max_detections: Count = 100
    """Detections per picture that AP counts; 100 is COCO's number, dense data sets need more."""
    window: Count | None = None
    """Side in pixels of square windows that slide over the network input of a segmenter, so that large pictures are seen at the size that was trained; none sees them whole."""
    window_stride: Count | None = None
    """Pixels from one window to the next; none is two thirds of `window`."""
    batch_size: Count | None = None
    """Pictures per step; none takes `training.batch_size`."""
