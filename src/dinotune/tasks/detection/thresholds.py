"""Which scores count: those of the user, or each class's best one from the evaluation."""

from collections.abc import Mapping

import numpy as np

from dinotune.data.records import LabelSet
from dinotune.tasks.detection.detected_boxes import DetectedBoxes

DEFAULT_THRESHOLD = 0.5
"""Score that counts where no evaluation has found a class's best one."""
MOST_NAMED = 10
"""With more classes, only the range of their thresholds is said."""


def used_thresholds(
    labels: LabelSet, stored: Mapping[str, float | None], threshold: float | None = None
) -> dict[str, float]:
    """Lowest score that counts, per class name: one for all, or else the stored ones, or else `DEFAULT_THRESHOLD`."""
    if threshold is not None:
        return dict.fromkeys(labels.names, threshold)
    limits = {name: stored.get(name) for name in labels.names}
    return {name: DEFAULT_THRESHOLD if limit is None else limit for name, limit in limits.items()}


def above_thresholds(detected: DetectedBoxes, labels: LabelSet, thresholds: Mapping[str, float]) -> DetectedBoxes:
    """Rows whose score reaches the threshold of their class (by name)."""
    limits = np.array([thresholds[name] for name in labels.names])
    return detected.select(detected.scores >= limits[detected.labels])


def describe_thresholds(labels: LabelSet, stored: Mapping[str, float | None], threshold: float | None = None) -> str:
    """Which scores count, in a line."""
    if threshold is not None:
        return f"threshold {threshold:g} for all classes"
    used = used_thresholds(labels, stored)
    known = {name: limit for name, limit in used.items() if stored.get(name) is not None}
    if len(used) > MOST_NAMED and known:
        spread = f"{min(known.values()):.2f} to {max(known.values()):.2f} for {len(known)} of {len(used)} classes"
        return f"thresholds of the model: {spread}, otherwise {DEFAULT_THRESHOLD}"
    if not known:
        return f"threshold {DEFAULT_THRESHOLD} for all classes: the model has no best ones"
    parts = [f"{name} {limit:.2f}{'' if name in known else ' (default)'}" for name, limit in used.items()]
    return f"thresholds of the model: {', '.join(parts)}"
