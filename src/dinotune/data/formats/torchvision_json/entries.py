"""Entries of a TorchVision JSON file: what each must hold, and which are left out with file and line."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dinotune.data.formats.base import clip_boxes, note_duplicates
from dinotune.data.formats.json_entries import Entries, is_box, load_json, wrong_side
from dinotune.data.problems import FileError, Kind, Problem

TOP = ""
"""Key under which `Entries` has the list at the top."""


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
        entries.add(Kind.MALFORMED_ENTRY, TOP, position, f"{entry!r} is not an object with keys and values")
        return False
    if not isinstance(entry.get("file_name"), str) or not entry["file_name"]:
        entries.add(Kind.MALFORMED_PICTURE, TOP, position, f"file_name {entry.get('file_name')!r} is no name of a file")
        return False
    if message := wrong_side(entry):
        entries.add(Kind.MALFORMED_PICTURE, TOP, position, message)
        return False
    boxes, labels = entry.get("boxes"), entry.get("labels")
    if not isinstance(boxes, list) or not isinstance(labels, list):
        entries.add(Kind.MALFORMED_ENTRY, TOP, position, "needs a list `boxes` and a list `labels`")
        return False
    if len(boxes) != len(labels):
        entries.add(Kind.UNEQUAL_LISTS, TOP, position, f"{len(boxes)} boxes, but {len(labels)} labels")
        return False
    return True


def box_columns(
    position: int,
    entry: Mapping[str, Any],
    hw: tuple[int, int],
    entries: Entries,
    names: Sequence[str],
    index: Mapping[str, int],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Boxes, labels, crowd and areas of one picture of height and width `hw`.

    `names` are the data set's classes, `index` those wanted, by name.
    """
    rows = []
    for box, written in zip(entry["boxes"], entry["labels"], strict=True):
        label = _label(written, position, entries, names, index)
        if not is_box(box):
            entries.add(Kind.MALFORMED_BOX, TOP, position, f"box {box!r} is not [x1, y1, x2, y2]")
        elif label is not None:
            rows.append((box, label))
    boxes = np.array([box for box, _ in rows], np.float64).reshape(-1, 4)
    labels = np.array([label for _, label in rows], np.int64)
    entries.written.add(boxes, hw)

    def note(_: int, kind: Kind, message: str) -> None:
        entries.add(kind, TOP, position, message)

    note_duplicates(boxes, labels.tolist(), note)
    boxes, keep = clip_boxes(boxes, hw, note)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return boxes[keep], labels[keep], np.zeros(keep.sum(), np.bool_), areas[keep]


def _label(written: Any, position: int, entries: Entries, names: Sequence[str], index: Mapping[str, int]) -> int | None:
    if not isinstance(written, int) or isinstance(written, bool) or written < 0:
        entries.add(Kind.MALFORMED_CLASS, TOP, position, f"label {written!r} is none of 0, 1, 2, ...")
    elif written >= len(names):
        message = f"label {written}, but there are {len(names)} classes, 0 to {len(names) - 1}"
        entries.add(Kind.UNKNOWN_CLASS, TOP, position, message)
    elif names[written] not in index:
        message = f'label {written} "{names[written]}" is not among the classes of the model'
        entries.add(Kind.UNKNOWN_CLASS, TOP, position, message)
    else:
        return index[names[written]]
    return None
