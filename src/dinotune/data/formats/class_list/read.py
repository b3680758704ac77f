"""Class list reader: each line names a picture and its class, by name or by the index of the class."""

import csv
from pathlib import Path

from dinotune.data.formats.base import SplitPlace, choose_folder, existing, require_any_picture
from dinotune.data.formats.class_list.table import Line, read_table
from dinotune.data.formats.labelled_pictures import labelled_pictures
from dinotune.data.problems import FileError, Findings, Kind, Problem, some
from dinotune.data.records import LabelSet, Records

SUFFIXES = ("", ".jpg", ".jpeg", ".JPEG", ".png")
"""Lists may leave out the suffix, as Kaggle's ImageNet does."""


def read_class_list(place: SplitPlace, name: str, labels: LabelSet | None, findings: Findings) -> Records:
    """Records of one split; lines that are wrong are left out and go into `findings`.

    Classes are ordered by name (numbers by value), or matched to `labels` where given: by name; or by index, where
    the list holds nothing but numbers and no class is called by a number.

    Raises:
        FileError: indices that do not run from 0 to the number of classes, none of the pictures, or no table.
    """
    lines = _lines(place.annotations, findings)
    found = list(zip(lines, _paths(place, lines), strict=True))
    labels = labels or _labels([line for line, path in found if path is not None])
    label_of = _label_of(place.annotations, lines, labels)
    listed: dict[Path, tuple[int, Line]] = {}
    for line, path in found:
        if path is None:
            hint = "; if these are names of columns, call them file and class" if line.number == 1 else ""
            message = f"{line.file} does not exist{hint}"
            findings.add(Kind.MISSING_PICTURE, place.annotations, message, line=line.number)
        elif line.name not in label_of:
            message = f'class "{line.name}" is not among {some(labels.names, 10)}'
            findings.add(Kind.UNKNOWN_CLASS, place.annotations, message, line=line.number)
        elif path in listed:
            message = f"{line.file} is in line {listed[path][1].number} already"
            findings.add(Kind.REPEATED_FILE, place.annotations, message, line=line.number)
        else:
            listed[path] = (label_of[line.name], line)
    pictures = [(path, label) for path, (label, _) in listed.items()]
    return Records.from_images(name, labels, labelled_pictures(pictures, findings))


def _label_of(file: Path, lines: list[Line], labels: LabelSet) -> dict[str, int]:
    """What each text of the list stands for: all are names, or all are indices."""
    by_name = {known: label for label, known in enumerate(labels.names)}
    written = {line.name for line in lines}
    if not all(map(_is_number, written)) or any(map(_is_number, labels.names)):
        return by_name
    numbers = {int(text) for text in written}
    if max(numbers) >= len(labels):
        message = (
            f"indices of {len(labels)} classes run from 0 to {len(labels) - 1}, these from {min(numbers)} to "
            f"{max(numbers)}; write names instead, or count from 0"
        )
        raise FileError(Problem(Kind.UNKNOWN_CLASS, file, message))
    return {text: int(text) for text in written}


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _lines(path: Path, findings: Findings) -> list[Line]:
    try:
        lines = list(read_table(path))
    except (UnicodeDecodeError, csv.Error) as error:
        raise FileError(Problem(Kind.BROKEN_LABEL, path, f"not readable as a table: {error}")) from None
    for line in lines:
        if not line.file or not line.name:
            message = "a picture and its class are needed, e.g. 1.jpg,cat"
            findings.add(Kind.LABEL_COLUMNS, path, message, line=line.number)
    return [line for line in lines if line.file and line.name]


def _labels(lines: list[Line]) -> LabelSet:
    names = {line.name for line in lines}
    numbers = all(map(_is_number, names))
    ordered = sorted(names, key=int) if numbers else sorted(names)
    return LabelSet(tuple(ordered), tuple(map(int, ordered)) if numbers else tuple(range(1, len(ordered) + 1)))


def _paths(place: SplitPlace, lines: list[Line]) -> list[Path | None]:
    """The file of each line, None where there is none; the first of `SUFFIXES` that any picture has is for all."""
    names = [line.file for line in lines]
    tried: list[tuple[list[Path], set[Path]]] = []
    for suffix in SUFFIXES:
        folder = choose_folder(place.image_folders, (name + suffix for name in names))
        paths = [folder / (name + suffix) for name in names]
        tried.append((paths, existing(paths)))
        if tried[-1][1]:
            break
    paths, present = tried[-1]
    require_any_picture(len(present), names, place.annotations, place.image_folders)
    return [path if path in present else None for path in paths]
