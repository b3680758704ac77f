"""The tasks: the labels that each learns from, and the numbers that judge it."""

from typing import Literal, NamedTuple

TaskName = Literal["detection", "classification", "segmentation", "instance_segmentation"]


LabelKind = Literal["boxes", "classes", "semantic_masks", "instance_masks"]
"""What labels say something about: objects, each with a box; pictures as a whole; pixels; or objects, each with the
pixels that belong to it."""

NEEDS: dict[TaskName, LabelKind] = {
    "detection": "boxes",
    "classification": "classes",
    "segmentation": "semantic_masks",
    "instance_segmentation": "instance_masks",
}
"""The labels that a task learns from."""

MEASURED_BY: dict[TaskName, tuple[str, ...]] = {
    "detection": ("max_detections",),
    "classification": (),
    "segmentation": ("window", "window_stride"),
    "instance_segmentation": ("max_detections",),
}
"""The settings of the evaluation that are for some tasks alone."""

IGNORED = -1
"""Class of pixels that neither teach nor count."""

IGNORED_VALUE = 255
"""What mask files usually hold where pixels neither teach nor count."""

BACKGROUND = "background"
"""Class of the pixels that belong to nothing else; painted objects lie on it."""


class Scores(NamedTuple):
    """Names of a task's scores; higher is better."""

    best: str
    """Chooses the best epoch; files of that epoch bear its name."""
    goal: str
    """What `training.must_reach` means where it names none."""
    shown: tuple[str, ...]
    """Those in the line of an epoch."""

    @property
    def table(self) -> tuple[str, ...]:
        """Those in tables, first the one that chooses the best epoch."""
        return self.shown[:2]


SCORES: dict[TaskName, Scores] = {
    "detection": Scores(best="AP", goal="AP50", shown=("AP", "AP50", "AP75")),
    "classification": Scores(best="top1", goal="top1", shown=("top1", "top5")),
    "segmentation": Scores(best="mIoU", goal="mIoU", shown=("mIoU", "pixel_accuracy")),
    "instance_segmentation": Scores(best="mask_AP", goal="mask_AP50", shown=("mask_AP", "mask_AP50", "AP")),
}
