"""COCO JSON reader: `annotations/instances_SPLIT*.json`, and Roboflow's `SPLIT/_annotations.coco.json`.

Lin et al. 2014, https://cocodataset.org/#format-data. Ids stay as they are, in files and in LabelSet.
"""

import re
from pathlib import Path
from typing import Any

from dinotune.data.formats.base import (
    SPLIT_ALIASES,
    SplitPlace,
    choose_folder,
    existing,
    require_any_picture,
    several,
    size_from_header,
)
from dinotune.data.formats.class_names import with_ids_of
from dinotune.data.formats.coco.entries import Category, Picture, by_image, check_picture, object_columns, picture_ids
from dinotune.data.formats.json_entries import Entries, collector_paused, load_json, size_hw
from dinotune.data.problems import FileError, Findings, Kind, Problem, some
from dinotune.data.records import ImageRecord, LabelSet, Records
from dinotune.errors import DataError

LOOKED_FOR = "annotations/instances_SPLIT*.json, SPLIT/_annotations.coco.json"


def find_coco(root: Path) -> dict[str, SplitPlace]:
    """Splits of a COCO folder by name (`train`, `val`, `test`); empty where nothing is found."""
    found = {}
    for split, aliases in SPLIT_ALIASES.items():
        pattern = re.compile(rf"instances_((?:{'|'.join(aliases)})(?:[^a-z].*)?)\.json")
        matches = [(path, pattern.fullmatch(path.name)) for path in sorted(root.glob("annotations/instances_*.json"))]
        files = [(path, match[1]) for path, match in matches if match]
        if files:
            path, tail = files[0]
            unclear = several("files", (path.name for path, _ in files), root, split)
            found[split] = SplitPlace(path, _image_folders(root, tail, aliases), unclear=unclear)
            continue
        roboflow = [root / alias / "_annotations.coco.json" for alias in aliases]
        if present := [path for path in roboflow if path.is_file()]:
            found[split] = SplitPlace(present[0], (present[0].parent,))
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


@collector_paused()
def read_coco(place: SplitPlace, name: str, labels: LabelSet | None, findings: Findings) -> Records:
    """Records of one annotation file; entries that are wrong are left out and go into `findings`.

    Classes are ordered by id, or matched by name to `labels` where given. Boxes become xyxy pixels, clipped to
    the picture. DataError where nothing is left to read: no JSON, no categories, none of the pictures.
    """
    content = _load(place.annotations)
    entries = Entries(place.annotations)
    labels, categories = _categories(content, place.annotations, labels)
    pictures = _pictures(content["images"], place, entries)
    by_picture = by_image(content["annotations"], picture_ids(content["images"]), entries)
    images = []
    for image_id, picture in pictures.items():
        hw = picture.hw or size_from_header(picture.path, findings)
        if hw is not None:
            found = object_columns(by_picture[image_id], hw, categories, entries, masks=place.masks.wanted)
            images.append(ImageRecord(picture.path, image_id, *hw, **found._asdict()))
    entries.written.check_sides(place.annotations, findings)
    entries.hand_to(findings)
    return Records.from_images(name, labels, images)


def _load(path: Path) -> dict[str, Any]:
    content = load_json(path)
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            message = f"no list `{key}`; a COCO file has images, annotations and categories"
            raise FileError(Problem(Kind.BROKEN_JSON, path, message))
    return dict(content)


def _categories(content: dict[str, Any], file: Path, labels: LabelSet | None) -> tuple[LabelSet, dict[int, Category]]:
    unused = all(a.get("category_id") != 0 for a in content["annotations"] if isinstance(a, dict))
    listed = content["categories"]
    for number, category in enumerate(listed):
        if not isinstance(category, dict):
            raise DataError(f"{file}: categories[{number}]: {category!r} is not an object with keys and values")
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
    labels = own if labels is None else with_ids_of(own, labels)
    index = {name: i for i, name in enumerate(labels.names)}
    return labels, {i: Category(name, index.get(name)) for i, name in zip(ids, names, strict=True)}


def _pictures(listed: list[Any], place: SplitPlace, entries: Entries) -> dict[int, Picture]:
    """Pictures by id, in listed order, as far as their entries can be used and their files exist."""
    usable = {index: entry for index, entry in enumerate(listed) if check_picture(index, entry, entries)}
    folder = choose_folder(place.image_folders, (entry["file_name"] for entry in usable.values()), _picture_path)
    paths = {index: _picture_path(folder, entry["file_name"]) for index, entry in usable.items()}
    present = existing(list(paths.values()))
    require_any_picture(len(present), [path.name for path in paths.values()], place.annotations, place.image_folders)
    pictures: dict[int, Picture] = {}
    used: dict[Path, int] = {}
    for index, path in paths.items():
        image_id = usable[index]["id"]
        if path not in present:
            entries.add(Kind.MISSING_PICTURE, "images", index, f"{path} does not exist")
        elif image_id in pictures:
            message = f"picture id {image_id} belongs to {pictures[image_id].path.name} already"
            entries.add(Kind.REPEATED_PICTURE_ID, "images", index, message)
        elif path in used:
            entries.add(Kind.REPEATED_FILE, "images", index, f"{path.name} is picture {used[path]} already")
        else:
            used[path] = image_id
            pictures[image_id] = Picture(path, size_hw(usable[index]))
    return pictures


def _picture_path(folder: Path, file_name: str) -> Path:
    """Nested names are kept; a leading folder that repeats `folder` (`train2017/1.jpg`) is dropped."""
    nested = Path(file_name.replace("\\", "/"))
    if len(nested.parts) > 1 and nested.parts[0] == folder.name:
        nested = Path(*nested.parts[1:])
    return folder / nested
