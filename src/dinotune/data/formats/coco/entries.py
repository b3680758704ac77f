"""Entries of a COCO file: what each must hold, and which are left out with file, line and id.

Lin et al. 2014, https://cocodataset.org/#format-data.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard, TypeVar

import numpy as np

from dinotune.data.formats.base import clip_boxes, note_duplicates
from dinotune.data.formats.json_entries import Entries, is_box, is_number, wrong_side
from dinotune.data.problems import Kind
from dinotune.data.segments import encode_polygons, what_is_wrong

Found = TypeVar("Found")

Annotation = tuple[int, dict[str, Any]]
"""An annotation with its index in the file's list."""


@dataclass(frozen=True)
class Category:
    """Class of an original category id: `index` is none where the wanted label set lacks the name."""

    name: str
    index: int | None


class Picture(NamedTuple):
    """File of a picture, with its height and width where the annotation has them."""

    path: Path
    hw: tuple[int, int] | None


def check_picture(index: int, entry: Any, entries: Entries) -> bool:
    """Whether an entry of `images` can be used."""
    if not isinstance(entry, dict):
        entries.add(Kind.MALFORMED_ENTRY, "images", index, f"{entry!r} is not an object with keys and values")
        return False
    image_id = entry.get("id")
    if not _is_id(image_id) or not isinstance(entry.get("file_name"), str) or not entry["file_name"].strip():
        message = f"id {image_id!r}, file_name {entry.get('file_name')!r}: needs an integer `id` and a `file_name`"
        entries.add(Kind.MALFORMED_PICTURE, "images", index, message)
        return False
    if message := wrong_side(entry):
        entries.add(Kind.MALFORMED_PICTURE, "images", index, message, image_id)
    return not message


def picture_ids(listed: list[Any]) -> set[int]:
    """Ids of the entries of `images`, also of those that cannot be used otherwise."""
    ids = (entry.get("id") for entry in listed if isinstance(entry, dict))
    return {id_ for id_ in ids if _is_id(id_)}


def by_image(listed: list[Any], image_ids: Iterable[int], entries: Entries) -> dict[int, list[Annotation]]:
    """Annotations under the id of their picture, for all pictures of the file."""
    found: dict[int, list[Annotation]] = {image_id: [] for image_id in image_ids}
    seen: set[int] = set()
    for index, entry in enumerate(listed):
        if not isinstance(entry, dict):
            message = f"{entry!r} is not an object with keys and values"
            entries.add(Kind.MALFORMED_ENTRY, "annotations", index, message)
        elif (of_picture := _look_up(found, entry.get("image_id"))) is None:
            message = f"unknown image_id {entry.get('image_id')!r}"
            entries.add(Kind.UNKNOWN_PICTURE_ID, "annotations", index, message, entry.get("id"))
        else:
            of_picture.append((index, entry))
            if isinstance(id_ := entry.get("id"), int):
                if id_ in seen:
                    entries.add(Kind.REPEATED_ANNOTATION_ID, "annotations", index, "an earlier annotation has it", id_)
                seen.add(id_)
    return found


class Columns(NamedTuple):
    """The objects of one picture, as ImageRecord has them."""

    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray
    segments: tuple[str, ...] | None


def object_columns(
    annotations: Sequence[Annotation],
    hw: tuple[int, int],
    categories: Mapping[int, Category],
    entries: Entries,
    *,
    masks: bool,
) -> Columns:
    """The objects of one picture of height and width `hw`, with their `masks` where these are wanted."""
    rows = []
    for index, entry in annotations:
        label, box = _label(index, entry, categories, entries), _xywh(index, entry, entries)
        if label is not None and box is not None:
            rows.append((index, entry, label, box))
    boxes = np.array([box for *_, box in rows], np.float64).reshape(-1, 4)
    entries.written.add(boxes, hw)
    boxes[:, 2:] += boxes[:, :2]

    def note(row: int, kind: Kind, message: str) -> None:
        index, entry = rows[row][:2]
        entries.add(kind, "annotations", index, message, entry.get("id"))

    note_duplicates(boxes, [label for _, _, label, _ in rows], note)
    boxes, keep = clip_boxes(boxes, hw, note)
    own_areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    written = [_area(index, entry, entries) for index, entry, *_ in rows]
    areas = np.array([area or own for area, own in zip(written, own_areas, strict=True)], np.float64)
    labels = np.array([label for _, _, label, _ in rows], np.int64)
    crowd = np.array([entry.get("iscrowd") in (1, "1") for _, entry, *_ in rows], np.bool_)
    segments = tuple(_segment(*rows[row][:2], hw, entries) for row in np.flatnonzero(keep).tolist()) if masks else None
    return Columns(boxes[keep], labels[keep], crowd[keep], areas[keep], segments)


def _label(index: int, entry: dict[str, Any], categories: Mapping[int, Category], entries: Entries) -> int | None:
    category = _look_up(categories, entry.get("category_id"))
    if category is None:
        message = f"unknown category_id {entry.get('category_id')!r}"
    elif category.index is None:
        message = f'class "{category.name}" is not among the classes of the model'
    else:
        return category.index
    entries.add(Kind.UNKNOWN_CLASS, "annotations", index, message, entry.get("id"))
    return None


def _xywh(index: int, entry: dict[str, Any], entries: Entries) -> list[float] | None:
    box = entry.get("bbox")
    if is_box(box):
        return [float(x) for x in box]
    kind = Kind.MISSING_BOX if box is None else Kind.MALFORMED_BOX
    message = "no `bbox`" if box is None else f"bbox {box!r} is not [x, y, width, height]"
    entries.add(kind, "annotations", index, message, entry.get("id"))
    return None


def _area(index: int, entry: dict[str, Any], entries: Entries) -> float:
    """Area in square pixels; 0 where the file has none that can be used."""
    area = entry.get("area")
    if area is None or is_number(area, 0):
        return float(area or 0)
    message = f"area {area!r} is not a number of square pixels"
    entries.add(Kind.MALFORMED_AREA, "annotations", index, message, entry.get("id"))
    return 0.0


def _segment(index: int, entry: dict[str, Any], hw: tuple[int, int], entries: Entries) -> str:
    """An object's mask as JSON text; empty where the file has none that can be used."""
    written = entry.get("segmentation")
    if written is None or written == []:
        return ""
    if message := what_is_wrong(written, hw):
        entries.add(Kind.MALFORMED_MASK, "annotations", index, message, entry.get("id"))
        return ""
    if isinstance(written, list):
        return encode_polygons(written)
    return json.dumps({"size": written["size"], "counts": written["counts"]})


def _is_id(value: Any) -> TypeGuard[int]:
    """Whether a value is an integer that fits a column of 64 bits."""
    return isinstance(value, int) and abs(value) < 2**63


def _look_up(table: Mapping[int, Found], key: Any) -> Found | None:
    """What stands under an id; none also for what can be no id, such as a list."""
    whole = isinstance(key, int) or (isinstance(key, float) and key.is_integer())
    return table.get(int(key)) if whole else None
