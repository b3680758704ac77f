"""Which classes are mistaken for which."""

import csv
import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

from dinotune.data.records import LabelSet


def confusion(
    truth: Int64[np.ndarray, "counted"], answered: Int64[np.ndarray, "counted"], classes: int
) -> Int64[np.ndarray, "classes classes"]:
    """How often each class (row) was given each class (column)."""
    return np.bincount(truth * classes + answered, minlength=classes**2).reshape(classes, classes)


def confusion_table(counts: Int64[np.ndarray, "classes classes"], labels: LabelSet) -> str:
    """Comma-separated text: a row per class, a column per answer, with the names on both."""
    rows = [[name, *row] for name, row in zip(labels.names, counts.tolist(), strict=True)]
    return csv_text([["class", *labels.names], *rows])


def csv_text(rows: Sequence[Sequence[object]]) -> str:
    """Rows of cells as comma-separated text."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
