"""The lines of a class list, whatever separates its columns and with or without names above them."""

import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

FILE_NAMES = {"file", "filename", "file_name", "image", "imageid", "image_id", "path", "filepath", "picture"}
CLASS_NAMES = {"class", "label", "category", "target", "class_name", "classname", "predictionstring", "y"}
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
    """Pictures and classes, by the names of their columns or, without names, the first two; UnicodeDecodeError."""
    with path.open(encoding="utf-8-sig", newline="") as text:
        first = text.readline()
        text.seek(0)
        rows = csv.reader(text, delimiter=_delimiter(first), skipinitialspace=True)
        file, name = 0, 1
        for number, row in enumerate(rows, 1):
            columns = [cell.strip() for cell in row]
            if number == 1 and (named := _named(columns)):
                file, name = named
            elif any(columns):
                yield Line(number, columns[file] if file < len(columns) else "", _class(columns, name))


def is_class_list(path: Path) -> bool:
    """Whether a file's first lines each have a picture's name and something beside it."""
    try:
        lines = list(islice(read_table(path), FIRST_LINES))
    except (OSError, UnicodeDecodeError, csv.Error):
        return False
    return bool(lines) and all(line.file and line.name for line in lines)


def _delimiter(line: str) -> str:
    return next((mark for mark in (",", ";", "\t") if mark in line), " ")


def _named(columns: list[str]) -> tuple[int, int] | None:
    small = [column.lower() for column in columns]
    file = next((place for place, name in enumerate(small) if name in FILE_NAMES), None)
    name = next((place for place, name in enumerate(small) if name in CLASS_NAMES), None)
    return None if file is None or name is None else (file, name)


def _class(columns: list[str], place: int) -> str:
    """Kaggle writes boxes behind the class: `n01751748 1 2 30 40`."""
    words = columns[place].split() if place < len(columns) else []
    numbers = all(word.isdigit() for word in words[1:])
    return words[0] if len(words) > 1 and numbers else " ".join(words)
