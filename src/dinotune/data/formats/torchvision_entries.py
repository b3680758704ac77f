"""Entries of a TorchVision JSON file: what each must hold, and which are left out with file and line."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dinotune.data.formats.base import clip_boxes, note_duplicates
from dinotune.data.formats.conventions import WrittenBoxes
from dinotune.data.formats.json_lines import entry_lines
from dinotune.data.problems import FileError, Findings, Kind, Problem

LARGEST_SIDE = 2**31 - 1
"""Pixels of the largest picture that PNG can describe."""


@dataclass
class Entries:
    """The file's list and what is wrong with its entries; lines are found at the end, by another parsing."""

    file: Path
    listed: list[Any]
    noted: list[tuple[Kind, int, str]] = field(default_factory=list)
    written: WrittenBoxes = field(default_factory=WrittenBoxes)

    def add(self, kind: Kind, position: int, message: str) -> None:
        """Note a problem of the entry at `position`, 0-based."""
        self.noted.append((kind, position, message))

    def hand_to(self, findings: Findings) -> None:
        """Give all problems to `findings`, with their lines."""
        self.written.check_corners(self.file, findings)
        if self.noted:
            text = f'{{"entries": {_text(self.file)}}}'
            lines = entry_lines(text, {("entries", position) for _, position, _ in self.noted})
            for kind, position, message in self.noted:
                line = lines.get(("entries", position))
                findings.add(kind, self.file, message, line=line, entry=f"entry {position}")


def _text(file: Path) -> str:
    return file.read_bytes().decode("utf-8-sig")


def load_json(file: Path) -> Any:
    """What the file holds; FileError with the line where it is no JSON."""
    try:
        return json.loads(_text(file))
    except (OSError, ValueError, RecursionError) as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else None
        raise FileError(Problem(Kind.BROKEN_JSON, file, f"not readable as JSON: {error}", line)) from None


def load_entries(file: Path) -> list[Any]:
    """The file's list, unchecked; FileError where it is none or empty."""
    content = load_json(file)
    if not isinstance(content, list) or not content:
        what = "an empty list" if content == [] else f"no list, but {type(content).__name__}"
        raise FileError(Problem(Kind.BROKEN_JSON, file, f"holds {what}; it needs one entry per picture"))
    return content


def check_entry(position: int, entry: Any, entries: Entries) -> bool:
    """Whether an entry describes a picture with as many boxes as labels."""
    if not isinstance(entry, dict):
        entries.add(Kind.MALFORMED_ENTRY, position, f"{entry!r} is not an object with keys and values")
        return False
    if not isinstance(entry.get("file_name"), str) or not entry["file_name"]:
        entries.add(Kind.MALFORMED_PICTURE, position, f"file_name {entry.get('file_name')!r} is no name of a file")
        return False
    for key in ("height", "width"):
        if entry.get(key) and not (_is_number(entry[key]) and 1 <= entry[key] <= LARGEST_SIDE):
            entries.add(Kind.MALFORMED_PICTURE, position, f"{key} {entry[key]!r} is not a number of pixels")
            return False
    boxes, labels = entry.get("boxes"), entry.get("labels")
    if not isinstance(boxes, list) or not isinstance(labels, list):
        entries.add(Kind.MALFORMED_ENTRY, position, "needs a list `boxes` and a list `labels`")
        return False
    if len(boxes) != len(labels):
        entries.add(Kind.UNEQUAL_LISTS, position, f"{len(boxes)} boxes, but {len(labels)} labels")
        return False
    return True


def size_hw(entry: Mapping[str, Any]) -> tuple[int, int] | None:
    """Height and width as annotated; none where either is absent or 0."""
    height, width = entry.get("height"), entry.get("width")
    return (int(height), int(width)) if height and width else None


def box_columns(
    position: int, hw: tuple[int, int], entries: Entries, names: Sequence[str], index: Mapping[str, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Boxes, labels, crowd and areas of one picture of height and width `hw`.

    `names` are the data set's classes, `index` those wanted, by name.
    """
    entry = entries.listed[position]
    rows = []
    for box, written in zip(entry["boxes"], entry["labels"], strict=True):
        label = _label(written, position, entries, names, index)
        if not (isinstance(box, list) and len(box) == 4 and all(map(_is_number, box))):
            entries.add(Kind.MALFORMED_BOX, position, f"box {box!r} is not [x1, y1, x2, y2]")
        elif label is not None:
            rows.append((box, label))
    boxes = np.array([box for box, _ in rows], np.float64).reshape(-1, 4)
    labels = np.array([label for _, label in rows], np.int64)
    entries.written.add(boxes, hw)

    def note(_: int, kind: Kind, message: str) -> None:
        entries.add(kind, position, message)

    note_duplicates(boxes, labels.tolist(), note)
    boxes, keep = clip_boxes(boxes, hw, note)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return boxes[keep], labels[keep], np.zeros(keep.sum(), np.bool_), areas[keep]


def _label(written: Any, position: int, entries: Entries, names: Sequence[str], index: Mapping[str, int]) -> int | None:
    if not isinstance(written, int) or isinstance(written, bool) or written < 0:
        entries.add(Kind.MALFORMED_CLASS, position, f"label {written!r} is none of 0, 1, 2, ...")
    elif written >= len(names):
        message = f"label {written}, but there are {len(names)} classes, 0 to {len(names) - 1}"
        entries.add(Kind.UNKNOWN_CLASS, position, message)
    elif names[written] not in index:
        message = f'label {written} "{names[written]}" is not among the classes of the model'
        entries.add(Kind.UNKNOWN_CLASS, position, message)
    else:
        return index[names[written]]
    return None


def _is_number(value: Any) -> bool:
    """Whether a value of the JSON is a finite number that fits a float."""
    return isinstance(value, int | float) and abs(value) <= sys.float_info.max
