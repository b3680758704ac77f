"""Accuracy of class scores: top-1, top-5, and per class."""

import numpy as np
from jaxtyping import Int64

from dinotune.data.records import LabelSet
from dinotune.tasks.base import Metrics
from dinotune.tasks.classification.best_classes import MOST_KEPT


def measure(truth: Int64[np.ndarray, "images"], best: Int64[np.ndarray, "images kept"], labels: LabelSet) -> Metrics:
    """Top-1 and top-5 accuracy over all pictures, and the mean of the classes' own; none without pictures.

    Top-5 is none for five classes and fewer, where it would be 1 whatever is answered.
    """
    right = best == truth[:, None]
    pictures, correct, answered = (
        np.bincount(chosen, minlength=len(labels)).tolist() for chosen in (truth, truth[right[:, 0]], best[:, 0])
    )
    accuracy = [hits / count if count else None for hits, count in zip(correct, pictures, strict=True)]
    known = [value for value in accuracy if value is not None]
    return Metrics(
        numbers={
            "top1": float(right[:, 0].mean()) if len(truth) else None,
            "top5": float(right.any(1).mean()) if len(truth) and len(labels) > MOST_KEPT else None,
            "mean_class_accuracy": float(np.mean(known)) if known else None,
        },
        per_class={
            name: {"pictures": count, "accuracy": share, "answers": said}
            for name, count, share, said in zip(labels.names, pictures, accuracy, answered, strict=True)
        },
        images=len(truth),
        notes=() if len(truth) else ("there are no pictures, so nothing can be measured",),
    )
