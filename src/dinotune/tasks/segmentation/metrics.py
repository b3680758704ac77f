"""Mean intersection over union and pixel accuracy, from one confusion matrix over all pixels of a split."""

import numpy as np
from jaxtyping import Float64, Int16, Int64

from dinotune.config.tasks import IGNORED
from dinotune.data.records import LabelSet
from dinotune.tasks.base import Metrics
from dinotune.tasks.confusion import confusion

Matrix = Int64[np.ndarray, "classes classes"]
"""Pixels of each class (row) that were given each class (column)."""


def pixel_confusion(
    truth: Int16[np.ndarray, "height width"], answered: Int16[np.ndarray, "height width"], classes: int
) -> Matrix:
    """The matrix of one picture; pixels without a class count nowhere."""
    counted = truth != IGNORED
    return confusion(truth[counted].astype(np.int64), answered[counted].astype(np.int64), classes)


def measure(matrix: Matrix, images: int, labels: LabelSet) -> Metrics:
    """mIoU, pixel accuracy and the mean of the classes' accuracies; none where no pixel counts.

    A class's IoU is TP / (TP + FP + FN) over the whole split. Classes that neither truth nor answers show have none
    and do not count in the mean (Everingham et al. 2015, Pascal VOC).
    """
    hits, pixels, answered = np.diag(matrix), matrix.sum(1), matrix.sum(0)
    iou, accuracy = _shares(hits, pixels + answered - hits), _shares(hits, pixels)
    return Metrics(
        numbers={
            "mIoU": _mean(iou),
            "pixel_accuracy": float(hits.sum() / matrix.sum()) if matrix.any() else None,
            "mean_class_accuracy": _mean(accuracy),
        },
        per_class={
            name: {"IoU": _plain(iou[i]), "accuracy": _plain(accuracy[i]), "pixels": count, "answers": said}
            for i, (name, count, said) in enumerate(zip(labels.names, pixels.tolist(), answered.tolist(), strict=True))
        },
        images=images,
        notes=() if matrix.any() else ("no pixel has a class, so nothing can be measured",),
    )


def _shares(part: Int64[np.ndarray, "classes"], whole: Int64[np.ndarray, "classes"]) -> Float64[np.ndarray, "classes"]:
    """Not a number where the whole is 0."""
    shares: Float64[np.ndarray, "classes"] = np.full(len(part), np.nan)
    np.divide(part, whole, out=shares, where=whole > 0)
    return shares


def _mean(values: Float64[np.ndarray, "classes"]) -> float | None:
    return float(np.nanmean(values)) if np.isfinite(values).any() else None


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
