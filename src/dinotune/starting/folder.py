"""Finds the data set in a folder that someone names: its format, or a plain word about what is missing.

A zip extracted one level too deep is looked into; pictures without labels are told from a folder of anything else.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from dinotune.data import formats
from dinotune.data.formats.base import pictures_below
from dinotune.data.problems import counted
from dinotune.errors import DataError

DEEPEST = 2
"""Levels of folders that are looked into; `VOCdevkit/VOC2012` lies two below what was extracted."""

MOST_FOLDERS = 200
"""So many folders are looked into at the most: a home folder must not take minutes."""

MOST_FILES = 200_000
"""The same for files, to see whether there are pictures at all."""


@dataclass(frozen=True)
class Found:
    """A data set on disk."""

    root: Path
    format: str
    notes: tuple[str, ...] = ()
    """What a user should know about how it was found."""


def find_data_set(folder: Path) -> Found:
    """The data set in a folder, or the only one in the folders below it.

    Raises:
        DataError: there is no such folder, no data set in it, or several below it.
    """
    if folder.is_dir():
        here = _look_into(folder)
        inner = [here] if here else _below(folder)
        if len(inner) > 1:
            names = ", ".join(str(found.root) for found in inner[:5])
            raise DataError(f"{folder}: holds {len(inner)} data sets; name one of them: {names}")
        if inner:
            return inner[0]
    raise DataError(_nothing_found(folder))


def _look_into(folder: Path, below: Path | None = None) -> Found | None:
    """The data set that a folder is, or none; of several formats that differ the first is taken, and said."""
    kinds = [kind for kind in formats.FINDERS if formats.FINDERS[kind](folder)]
    if not kinds:
        return None
    try:
        kind = formats.detect_format(folder)
    except DataError:  # several formats with different splits
        kind = kinds[0]
    inner = () if below is None else (f"the data set lies in {folder}",)
    return Found(folder, kind, (*inner, *formats.passed_over(folder, kind)))


def _below(folder: Path) -> list[Found]:
    """Data sets in the folders below, from the first level that has any."""
    level = [folder]
    for _ in range(DEEPEST):
        level = sorted(inner for outer in level for inner in _folders(outer))[:MOST_FOLDERS]
        found = [data_set for inner in level if (data_set := _look_into(inner, below=folder))]
        if found:
            return found
    return []


def _folders(folder: Path) -> Iterable[Path]:
    return (
        path
        for path in folder.iterdir()
        if path.is_dir() and not path.name.startswith((".", "__")) and os.access(path, os.R_OK)
    )


def _nothing_found(folder: Path) -> str:
    """What was looked for; and, where pictures lie there, that labels are what is missing."""
    looked_for = _looked_for(folder)
    pictures = len(pictures_below(folder, MOST_FILES)) if folder.is_dir() else 0
    if not pictures:
        return looked_for
    return (
        f"{looked_for}\nFound {counted(pictures, 'picture')}, but no labels that can be read. Draw boxes with a labelling "
        "tool and export them in one of these formats; a trained model needs none: "
        f"dinotune predict runs/latest {quote(str(folder))}"
    )


def _looked_for(folder: Path) -> str:
    try:
        formats.detect_format(folder)
    except DataError as error:
        return str(error)
    raise AssertionError("find_data_set found no format either")
