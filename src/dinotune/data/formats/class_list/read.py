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

    Classes are ordered by name (numbers by value), or matched to `labels` where given: by name, or by index where the
    list holds numbers that are no names.
    """
    lines = _lines(place.annotations, findings)
    labels = labels or _labels(lines)
    paths = _paths(place, lines)
    by_name = {known: label for label, known in enumerate(labels.names)}
    listed: dict[Path, tuple[int, Line]] = {}
    for line, path in zip(lines, paths, strict=True):
        label = by_name.get(line.name, _index(line.name, len(labels)))
        entry = f"line {line.number}"
        if path is None:
            findings.add(Kind.MISSING_PICTURE, place.annotations, f"{line.file} does not exist", line=line.number)
        elif label is None:
            message = f'class "{line.name}" is not among {some(labels.names, 10)}'
            findings.add(Kind.UNKNOWN_CLASS, place.annotations, message, line=line.number)
        elif path in listed:
            message = f"{line.file} is in line {listed[path][1].number} already"
            findings.add(Kind.REPEATED_FILE, place.annotations, message, line=line.number, entry=entry)
        else:
            listed[path] = (label, line)
    pictures = [(path, label) for path, (label, _) in listed.items()]
    return Records.from_images(name, labels, labelled_pictures(pictures, findings))


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
    numbers = all(name.isdigit() for name in names)
    ordered = sorted(names, key=int) if numbers else sorted(names)
    return LabelSet(tuple(ordered), tuple(map(int, ordered)) if numbers else tuple(range(1, len(ordered) + 1)))


def _index(name: str, classes: int) -> int | None:
    return int(name) if name.isdigit() and int(name) < classes else None


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
