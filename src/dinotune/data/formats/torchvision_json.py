"""TorchVision JSON reader: a list of pictures with corner boxes and 0-based labels, as torchvision's detectors take them.

`annotations/SPLIT/annotations_torchvision.json`, `dataset_meta.json` with the names beside it, pictures in `images/SPLIT`.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dinotune.data.formats.base import (
    SPLIT_ALIASES,
    SplitPlace,
    clip_boxes,
    existing,
    note_duplicates,
    require_any_picture,
    size_from_header,
)
from dinotune.data.formats.class_names import clear_names, nameless
from dinotune.data.formats.conventions import WrittenBoxes
from dinotune.data.formats.json_lines import entry_lines
from dinotune.data.problems import FileError, Findings, Kind, Problem
from dinotune.data.records import ImageRecord, LabelSet, Records

ANNOTATIONS, META = "annotations_torchvision.json", "dataset_meta.json"

LOOKED_FOR = f"annotations/SPLIT/{ANNOTATIONS}"

FIRST_PICTURES = 20
"""So many pictures are sought in every folder: the very first may be the one that is missing."""


def find_torchvision_json(root: Path) -> dict[str, SplitPlace]:
    """Splits of a TorchVision JSON folder by name (`train`, `val`, `test`); empty where nothing is found."""
    found = {}
    for split, aliases in SPLIT_ALIASES.items():
        files = [root / "annotations" / alias / ANNOTATIONS for alias in aliases]
        if existing := [path for path in files if path.is_file()]:
            found[split] = SplitPlace(existing[0], torchvision_image_folders(existing[0], root, split))
    return found


def torchvision_image_folders(annotations: Path, root: Path | None, split: str) -> tuple[Path, ...]:
    """Where the pictures of an annotation file may lie."""
    base = root or annotations.absolute().parent.parent.parent
    names = dict.fromkeys((annotations.parent.name, *SPLIT_ALIASES[split]))
    candidates = [folder for name in names for folder in (base / "images" / name, base / name)]
    return (*candidates, base / "images", annotations.parent)


def read_torchvision_json(place: SplitPlace, name: str, labels: LabelSet | None, findings: Findings) -> Records:
    """Records of one annotation file, with ids 1..n in listed order; what is wrong goes into `findings`.

    Classes are those of `dataset_meta.json` beside the file, above it or in another split's folder, or `labels`.
    DataError where nothing is left to read: no JSON list, none of the pictures.
    """
    entries = _Entries(place.annotations, _load(place.annotations))
    names = _class_names(place.annotations, findings)
    if labels is None:
        labels = LabelSet(tuple(names), tuple(range(1, len(names) + 1)))
    index = {label: i for i, label in enumerate(labels.names)}
    images: list[ImageRecord] = []
    for position, path in _pictures(place, entries).items():
        hw = _size_hw(entries.listed[position]) or size_from_header(path, findings)
        if hw is not None:
            images.append(ImageRecord(path, len(images) + 1, *hw, *_columns(position, hw, entries, names, index)))
    entries.hand_to(findings)
    return Records.from_images(name, labels, images)


@dataclass
class _Entries:
    """The file's list and what is wrong with its entries; lines are found at the end, by another parsing."""

    file: Path
    listed: list[Any]
    noted: list[tuple[Kind, int, str]] = field(default_factory=list)
    written: WrittenBoxes = field(default_factory=WrittenBoxes)

    def add(self, kind: Kind, position: int, message: str) -> None:
        self.noted.append((kind, position, message))

    def hand_to(self, findings: Findings) -> None:
        self.written.check_corners(self.file, findings)
        if self.noted:
            text = f'{{"entries": {_text(self.file)}}}'
            lines = entry_lines(text, {("entries", position) for _, position, _ in self.noted})
            for kind, position, message in self.noted:
                line = lines.get(("entries", position))
                findings.add(kind, self.file, message, line=line, entry=f"entry {position}")


def _text(file: Path) -> str:
    return file.read_bytes().decode("utf-8-sig")


def _json(file: Path) -> Any:
    try:
        return json.loads(_text(file))
    except (OSError, ValueError, RecursionError) as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else None
        raise FileError(Problem(Kind.BROKEN_JSON, file, f"not readable as JSON: {error}", line)) from None


def _load(file: Path) -> list[Any]:
    content = _json(file)
    if not isinstance(content, list) or not content:
        what = "an empty list" if content == [] else f"no list, but {type(content).__name__}"
        raise FileError(Problem(Kind.BROKEN_JSON, file, f"holds {what}; it needs one entry per picture"))
    return content


def _beside(annotations: Path, name: str) -> list[Path]:
    """Files of that name beside the annotations, above them, and in the folders of the other splits."""
    above = annotations.absolute().parent.parent
    aliases = [alias for aliases in SPLIT_ALIASES.values() for alias in aliases]
    folders = dict.fromkeys((annotations.absolute().parent, above, *(above / alias for alias in aliases)))
    return [folder / name for folder in folders if (folder / name).is_file()]


def _class_names(annotations: Path, findings: Findings) -> list[str]:
    meta = next(iter(_beside(annotations, META)), None)
    if meta is None:
        remedy = f'write {META} beside it, such as {{"classes": ["cat", "dog"]}}'
        files = {annotations.absolute(), *_beside(annotations, ANNOTATIONS)}
        return nameless(max(map(_largest_label, files)) + 1, annotations, remedy, findings)
    content = _json(meta)
    names = content.get("classes") if isinstance(content, dict) else None
    if not isinstance(names, list):
        raise FileError(Problem(Kind.BROKEN_JSON, meta, 'no list `classes`, such as {"classes": ["cat", "dog"]}'))
    return clear_names(dict(enumerate(names)), meta, findings, lambda _: None)


def _largest_label(file: Path) -> int:
    lists = [entry.get("labels") for entry in _load(file) if isinstance(entry, dict)]
    labels = [label for listed in lists if isinstance(listed, list) for label in listed]
    return max((label for label in labels if isinstance(label, int)), default=-1)


def _pictures(place: SplitPlace, entries: _Entries) -> dict[int, Path]:
    """Pictures by position of their entry, as far as the entries can be used and the files exist."""
    names = {
        position: entry["file_name"].replace("\\", "/")
        for position, entry in enumerate(entries.listed)
        if _check(position, entry, entries)
    }
    folders = [*place.image_folders, *_image_roots(place.annotations)]
    folder = _choose_folder(folders, list(names.values())[:FIRST_PICTURES])
    paths = {position: folder / name for position, name in names.items()}
    present = existing(list(paths.values()))
    require_any_picture(len(present), list(names.values()), place.annotations, folders)
    used: dict[Path, int] = {}
    for position, path in paths.items():
        if path not in present:
            entries.add(Kind.MISSING_PICTURE, position, f"{path} does not exist")
        elif path in used:
            entries.add(Kind.REPEATED_FILE, position, f"{path} is entry {used[path]} already")
        else:
            used[path] = position
    return {position: path for path, position in used.items()}


def _image_roots(annotations: Path) -> list[Path]:
    """`image_root` of `dataset_meta.json`, from that file's folder; none where there is none."""
    meta = next(iter(_beside(annotations, META)), None)
    content = _json(meta) if meta is not None else None
    root = content.get("image_root") if isinstance(content, dict) else None
    return [Path(os.path.normpath(meta.parent / root))] if meta is not None and isinstance(root, str) else []


def _choose_folder(folders: Sequence[Path], names: Sequence[str]) -> Path:
    """The first folder that holds one of the names; where none does, the first that exists."""
    holding = (folder for name in names for folder in folders if (folder / name).is_file())
    present = (folder for folder in folders if folder.is_dir())
    return next(holding, None) or next(present, folders[0])


def _check(position: int, entry: Any, entries: _Entries) -> bool:
    """Whether an entry describes a picture with as many boxes as labels."""
    if not isinstance(entry, dict):
        entries.add(Kind.MALFORMED_ENTRY, position, f"{entry!r} is not an object with keys and values")
        return False
    if not isinstance(entry.get("file_name"), str) or not entry["file_name"]:
        entries.add(Kind.MALFORMED_PICTURE, position, f"file_name {entry.get('file_name')!r} is no name of a file")
        return False
    for key in ("height", "width"):
        if entry.get(key) and not (_is_number(entry[key]) and entry[key] >= 1):
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


def _size_hw(entry: Mapping[str, Any]) -> tuple[int, int] | None:
    height, width = entry.get("height"), entry.get("width")
    return (int(height), int(width)) if height and width else None


def _columns(
    position: int, hw: tuple[int, int], entries: _Entries, names: Sequence[str], index: Mapping[str, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Boxes, labels, crowd and areas of one picture."""
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


def _label(
    written: Any, position: int, entries: _Entries, names: Sequence[str], index: Mapping[str, int]
) -> int | None:
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
