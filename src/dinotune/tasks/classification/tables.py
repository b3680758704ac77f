"""Answers of a classifier as comma-separated text."""

import csv
import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

from dinotune.data.records import LabelSet
from dinotune.tasks.classification.best_classes import MOST_KEPT

Ranked = Sequence[tuple[str, float]]
"""Names of classes with their scores, best first."""


def answers_table(pictures: Sequence[tuple[str, Ranked]], truth: Sequence[str] | None = None) -> str:
    """A line per picture: its file, its class where it is known, and the best classes with their scores."""
    columns = max((min(len(ranked), MOST_KEPT) for _, ranked in pictures), default=0)
    places = [f"{what}{rank}" for rank in range(1, columns + 1) for what in ("answer", "score")]
    lines = [
        [
            file,
            *([] if truth is None else [truth[row]]),
            *(cell for name, score in ranked[:columns] for cell in (name, f"{score:.4f}")),
        ]
        for row, (file, ranked) in enumerate(pictures)
    ]
    return _csv([["file", *([] if truth is None else ["class"]), *places], *lines])


def confusion_table(counts: Int64[np.ndarray, "classes classes"], labels: LabelSet) -> str:
    """A row per class, a column per answer, with the names on both."""
    rows = [[name, *row] for name, row in zip(labels.names, counts.tolist(), strict=True)]
    return _csv([["class", *labels.names], *rows])


def _csv(rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
