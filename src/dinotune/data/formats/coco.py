"""COCO JSON reader: `annotations/instances_SPLIT*.json`, and Roboflow's `SPLIT/_annotations.coco.json`.

Lin et al. 2014, https://cocodataset.org/#format-data. Ids stay as they are, in files and in LabelSet.
"""

import itertools
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from dinotune.data.formats.base import SPLIT_ALIASES, Findings, SplitPlace, require_pictures, some
from dinotune.data.images import image_size_hw
from dinotune.data.records import ImageRecord, LabelSet, Records
from dinotune.errors import DataError

Found = TypeVar("Found")

LOOKED_FOR = "annotations/instances_SPLIT*.json, SPLIT/_annotations.coco.json"


def find_coco(root: Path) -> dict[str, SplitPlace]:
    """Splits of a COCO folder by name (`train`, `val`, `test`); empty where nothing is found."""
    found = {}
    for split, aliases in SPLIT_ALIASES.items():
        pattern = re.compile(rf"instances_((?:{'|'.join(aliases)})(?:[^a-z].*)?)\.json")
        matches = [(path, pattern.fullmatch(path.name)) for path in sorted(root.glob("annotations/instances_*.json"))]
        files = [(path, match[1]) for path, match in matches if match]
        if len(files) > 1:
            names = some(path.name for path, _ in files)
            raise DataError(f"{root}: several files for split {split} ({names}); choose with data.{split}.annotations")
        if files:
            path, tail = files[0]
            found[split] = SplitPlace(path, _image_folders(root, tail, aliases))
            continue
        roboflow = [root / alias / "_annotations.coco.json" for alias in aliases]
        if existing := [path for path in roboflow if path.is_file()]:
            found[split] = SplitPlace(existing[0], (existing[0].parent,))
    return found


def coco_image_folders(annotations: Path, root: Path | None, split: str) -> tuple[Path, ...]:
    """Where the pictures of an explicitly named annotation file may lie."""
    tail = annotations.stem.removeprefix("instances_")
    bases = [annotations.parent.parent, annotations.parent] if root is None else [root, annotations.parent]
    return tuple(folder for base in bases for folder in (*_image_folders(base, tail, SPLIT_ALIASES[split]), base))


def _image_folders(root: Path, tail: str, aliases: tuple[str, ...]) -> tuple[Path, ...]:
    names = dict.fromkeys((tail, *aliases))
    candidates = [folder for name in names for folder in (root / "images" / name, root / name)]
    return (*candidates, root / "images")


@dataclass(frozen=True)
class _Category:
    """Class of an original category id: `index` is none where the wanted label set lacks the name."""

    name: str
    index: int | None


def read_coco(place: SplitPlace, name: str, labels: LabelSet | None = None) -> Records:
    """Records of one annotation file.

    Classes are ordered by id, or matched by name to `labels` where given. Boxes become xyxy pixels, clipped to
    the picture; those without an area are left out and noted. DataError (file, entry) for anything malformed,
    unknown picture or category ids, and pictures that do not exist.
    """
    content = _load(place.annotations)
    labels, categories = _categories(content, place.annotations, labels)
    pictures = _pictures(content, place.annotations)
    folder = _choose_folder(place, pictures)
    paths = {image_id: _picture_path(folder, picture["file_name"]) for image_id, picture in pictures.items()}
    require_pictures(list(paths.values()), place.annotations, place.image_folders)

    by_picture: dict[int, list[dict[str, Any]]] = {image_id: [] for image_id in pictures}
    for annotation in content["annotations"]:
        listed = _look_up(by_picture, annotation.get("image_id"))
        if listed is None:
            what = f"unknown image_id {annotation.get('image_id')!r}"
            raise DataError(f"{place.annotations}: annotation {annotation.get('id')}: {what}")
        listed.append(annotation)

    findings = Findings()
    images = []
    for image_id, picture in pictures.items():
        hw = _size_hw(picture, paths[image_id], place.annotations)
        columns = _columns(by_picture[image_id], hw, categories, place.annotations, findings)
        images.append(ImageRecord(paths[image_id], image_id, *hw, *columns))
    return Records.from_images(name, labels, images, findings.notes())


def _load(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such annotation file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not readable as JSON: {error}") from None
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise DataError(f"{path}: no list `{key}`; a COCO file has images, annotations and categories")
        for number, entry in enumerate(content[key]):
            if not isinstance(entry, dict):
                raise DataError(f"{path}: {key}[{number}]: {entry!r} is not an object with keys and values")
    return dict(content)


def _categories(content: dict[str, Any], file: Path, labels: LabelSet | None) -> tuple[LabelSet, dict[int, _Category]]:
    unused = all(annotation.get("category_id") != 0 for annotation in content["annotations"])
    listed = content["categories"]
    parents = [category.get("supercategory") for category in listed if category.get("id") != 0]
    # Roboflow writes the name of the data set as category 0 and as supercategory of the others.
    real = [c for c in listed if not (c.get("id") == 0 and unused and c.get("name") in parents)]
    if not real:
        raise DataError(f"{file}: no categories")
    if not all(isinstance(c.get("id"), int) and isinstance(c.get("name"), str) for c in real):
        raise DataError(f"{file}: every category needs an integer `id` and a `name`")
    real.sort(key=lambda category: category["id"])
    ids, names = [c["id"] for c in real], [c["name"] for c in real]
    if len(set(ids)) < len(ids) or len(set(names)) < len(names):
        raise DataError(f"{file}: category ids or names occur twice: {some(sorted(names), 100)}")
    own = LabelSet(tuple(names), tuple(ids))
    labels = own if labels is None else _with_ids_of(own, labels)
    index = {name: i for i, name in enumerate(labels.names)}
    return labels, {i: _Category(name, index.get(name)) for i, name in zip(ids, names, strict=True)}


def _with_ids_of(own: LabelSet, labels: LabelSet) -> LabelSet:
    """The model's classes with this file's ids, which results must carry; classes it lacks get ids it does not use."""
    by_name = dict(zip(own.names, own.ids, strict=True))
    free = itertools.count(max(*own.ids, *labels.ids) + 1)
    ids = [
        by_name[name] if name in by_name else next(free) if trained in own.ids else trained
        for name, trained in zip(labels.names, labels.ids, strict=True)
    ]
    return LabelSet(labels.names, tuple(ids))


def _pictures(content: dict[str, Any], file: Path) -> dict[int, dict[str, Any]]:
    pictures: dict[int, dict[str, Any]] = {}
    for picture in content["images"]:
        image_id = picture.get("id")
        if not isinstance(image_id, int) or not isinstance(picture.get("file_name"), str):
            raise DataError(f"{file}: picture {image_id!r}: needs an integer `id` and a `file_name`")
        if image_id in pictures:
            raise DataError(f"{file}: picture id {image_id} occurs twice")
        pictures[image_id] = picture
    return pictures


def _choose_folder(place: SplitPlace, pictures: dict[int, dict[str, Any]]) -> Path:
    """The first folder that holds the first picture; where none does, the first that exists."""
    for picture in list(pictures.values())[:1]:
        for folder in place.image_folders:
            if _picture_path(folder, picture["file_name"]).is_file():
                return folder
    return next((folder for folder in place.image_folders if folder.is_dir()), place.image_folders[0])


def _picture_path(folder: Path, file_name: str) -> Path:
    """Nested names are kept; a leading folder that repeats `folder` (`train2017/1.jpg`) is dropped."""
    nested = Path(file_name)
    if len(nested.parts) > 1 and nested.parts[0] == folder.name:
        nested = Path(*nested.parts[1:])
    return folder / nested


def _size_hw(picture: dict[str, Any], path: Path, file: Path) -> tuple[int, int]:
    """Height and width as annotated; as the picture's own header says where either is absent or 0."""
    sides = {key: picture.get(key) for key in ("height", "width")}
    if not all(sides.values()):
        return image_size_hw(path)
    for key, side in sides.items():
        if not _is_number(side, 1):
            raise DataError(f"{file}: picture {picture['id']}: {key} {side!r} is not a number of pixels")
    return int(picture["height"]), int(picture["width"])


def _columns(
    annotations: list[dict[str, Any]],
    hw: tuple[int, int],
    categories: dict[int, _Category],
    file: Path,
    findings: Findings,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Boxes, labels, crowd and areas of one picture."""
    places = [f"annotation {annotation.get('id')}" for annotation in annotations]
    labels = [_label(a, categories, f"{file}: {p}") for a, p in zip(annotations, places, strict=True)]
    xywh = [_xywh(a, f"{file}: {p}") for a, p in zip(annotations, places, strict=True)]
    boxes = np.array(xywh, np.float64).reshape(-1, 4)
    own_areas = boxes[:, 2] * boxes[:, 3]
    boxes[:, 2:] += boxes[:, :2]
    boxes, keep = findings.usable(boxes, hw, places)
    written = [_area(a, f"{file}: {p}") for a, p in zip(annotations, places, strict=True)]
    areas = [area or own for area, own in zip(written, own_areas, strict=True)]
    crowd = [bool(annotation.get("iscrowd", 0)) for annotation in annotations]
    return (
        boxes[keep],
        np.array(labels, np.int64)[keep],
        np.array(crowd, np.bool_)[keep],
        np.array(areas, np.float64)[keep],
    )


def _label(annotation: dict[str, Any], categories: dict[int, _Category], place: str) -> int:
    category = _look_up(categories, annotation.get("category_id"))
    if category is None:
        raise DataError(f"{place}: unknown category_id {annotation.get('category_id')!r}")
    if category.index is None:
        raise DataError(f'{place}: class "{category.name}" is not among the classes of the model')
    return category.index


def _xywh(annotation: dict[str, Any], place: str) -> list[float]:
    box = annotation.get("bbox")
    if isinstance(box, list) and len(box) == 4 and all(_is_number(x) for x in box):
        return [float(x) for x in box]
    raise DataError(f"{place}: bbox {box!r} is not [x, y, width, height]")


def _area(annotation: dict[str, Any], place: str) -> float:
    """Area in square pixels; 0 where the file has none."""
    area = annotation.get("area")
    if area is None or _is_number(area, 0):
        return float(area or 0)
    raise DataError(f"{place}: area {area!r} is not a number of square pixels")


def _is_number(value: Any, least: float = -sys.float_info.max) -> bool:
    """Whether a value of the JSON is a finite number (which fits a float) and not below `least`."""
    return isinstance(value, int | float) and least <= value <= sys.float_info.max


def _look_up(table: Mapping[int, Found], key: Any) -> Found | None:
    """What stands under an id; none also for what can be no id, such as a list."""
    return table.get(int(key)) if _is_number(key) and key == int(key) else None
