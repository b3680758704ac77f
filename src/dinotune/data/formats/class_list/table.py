"""The lines of a class list, whatever separates its columns and with or without names above them."""

import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

KAGGLE = "predictionstring"
"""Its column holds boxes behind the class: `n01751748 1 2 30 40`."""
FILE_NAMES = {"file", "filename", "file_name", "image", "imageid", "image_id", "path", "filepath", "picture"}
CLASS_NAMES = {"class", "label", "category", "target", "class_name", "classname", KAGGLE, "y"}
"""Names of the two columns, in small letters; `ImageId` and `PredictionString` are Kaggle's ImageNet."""

FIRST_LINES = 20
"""So many are looked at, to see whether a file is a class list."""


class Line(NamedTuple):
    """A picture with its class, as written."""

    number: int
    """1-based line of the file."""
    file: str
    name: str
    """Empty where there is no second column."""


def read_table(path: Path) -> Iterator[Line]:
    """Pictures and classes, by the names of their columns or, without names, the first two.

    Where nothing but spaces separates them, all behind the first space is the class.
    """
    with path.open(encoding="utf-8-sig", newline="") as text:
        mark = _delimiter(text.readline())
        text.seek(0)
        rows: Iterator[list[str]] = csv.reader(text, delimiter=mark) if mark else (line.split(None, 1) for line in text)
        file, name, boxes = 0, 1, False
        for number, row in enumerate(rows, 1):
            columns = [cell.strip() for cell in row]
            if number == 1 and (named := _named(columns)):
                file, name = named
                boxes = columns[name].lower() == KAGGLE
            elif any(columns):
                picture, written = (columns[place] if place < len(columns) else "" for place in (file, name))
                yield Line(number, picture, written.split()[0] if boxes and written else written)


def is_class_list(path: Path) -> bool:
    """Whether a file's first lines each have a picture's name and something beside it."""
    try:
        lines = list(islice(read_table(path), FIRST_LINES))
    except (OSError, UnicodeDecodeError, csv.Error):
        return False
    return bool(lines) and all(line.file and line.name for line in lines)


def _delimiter(line: str) -> str:
    return next((mark for mark in (",", ";", "\t") if mark in line), "")


def _named(columns: list[str]) -> tuple[int, int] | None:
    small = [column.lower() for column in columns]
    file = next((place for place, name in enumerate(small) if name in FILE_NAMES), None)
    name = next((place for place, name in enumerate(small) if name in CLASS_NAMES), None)
    return None if file is None or name is None else (file, name)
