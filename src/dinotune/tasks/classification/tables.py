"""Answers of a classifier as comma-separated text."""

from collections.abc import Sequence

from dinotune.tasks.classification.best_classes import MOST_KEPT
from dinotune.tasks.confusion import csv_text

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
    return csv_text([["file", *([] if truth is None else ["class"]), *places], *lines])
