"""TorchVision JSON reader: a list of pictures with corner boxes and 0-based labels, as torchvision's detectors take them.

`annotations/SPLIT/annotations_torchvision.json`, `dataset_meta.json` with the names beside it, pictures in `images/SPLIT`.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dinotune.data.formats.base import (
    SPLIT_ALIASES,
    SplitPlace,
    choose_folder,
    existing,
    require_any_picture,
    size_from_header,
)
from dinotune.data.formats.class_names import clear_names, nameless
from dinotune.data.formats.json_entries import Entries, collector_paused, load_json, size_hw
from dinotune.data.formats.torchvision_json.entries import TOP, box_columns, check_entry, load_entries
from dinotune.data.problems import FileError, Findings, Kind, Problem
from dinotune.data.records import ImageRecord, LabelSet, Records
from dinotune.errors import DataError

ANNOTATIONS, META = "annotations_torchvision.json", "dataset_meta.json"

LOOKED_FOR = f"annotations/SPLIT/{ANNOTATIONS}"


def find_torchvision_json(root: Path) -> dict[str, SplitPlace]:
    """Splits of a TorchVision JSON folder by name (`train`, `val`, `test`); empty where nothing is found."""
    found = {}
    for split, aliases in SPLIT_ALIASES.items():
        files = [root / "annotations" / alias / ANNOTATIONS for alias in aliases]
        if present := [path for path in files if path.is_file()]:
            found[split] = SplitPlace(present[0], torchvision_image_folders(present[0], root, split))
    return found


def torchvision_image_folders(annotations: Path, root: Path | None, split: str) -> tuple[Path, ...]:
    """Where the pictures of an annotation file may lie; last where `dataset_meta.json` says."""
    base = root or annotations.absolute().parent.parent.parent
    names = dict.fromkeys((annotations.parent.name, *SPLIT_ALIASES[split]))
    candidates = [folder for name in names for folder in (base / "images" / name, base / name)]
    return (*candidates, base / "images", annotations.parent, *_image_roots(annotations))


@collector_paused()
def read_torchvision_json(place: SplitPlace, name: str, labels: LabelSet | None, findings: Findings) -> Records:
    """Records of one annotation file, with ids 1..n in listed order; what is wrong goes into `findings`.

    Classes are those of `dataset_meta.json` beside the file, above it or in another split's folder, or `labels`.
    DataError where nothing is left to read: no JSON list, none of the pictures.
    """
    listed, entries = load_entries(place.annotations), Entries(place.annotations)
    names = _class_names(place.annotations, findings)
    if labels is None:
        labels = LabelSet(tuple(names), tuple(range(1, len(names) + 1)))
    index = {label: i for i, label in enumerate(labels.names)}
    images: list[ImageRecord] = []
    for position, path in _pictures(place, listed, entries).items():
        hw = size_hw(listed[position]) or size_from_header(path, findings)
        if hw is not None:
            columns = box_columns(position, listed[position], hw, entries, names, index)
            images.append(ImageRecord(path, len(images) + 1, *hw, *columns))
    entries.written.check_corners(place.annotations, findings)
    entries.hand_to(findings)
    return Records.from_images(name, labels, images)


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
    content = load_json(meta)
    names = content.get("classes") if isinstance(content, dict) else None
    if not isinstance(names, list):
        raise FileError(Problem(Kind.BROKEN_JSON, meta, 'no list `classes`, such as {"classes": ["cat", "dog"]}'))
    return clear_names(dict(enumerate(names)), meta, findings, lambda _: None)


def _largest_label(file: Path) -> int:
    lists = [entry.get("labels") for entry in load_entries(file) if isinstance(entry, dict)]
    labels = [label for listed in lists if isinstance(listed, list) for label in listed]
    return max((label for label in labels if isinstance(label, int)), default=-1)


def _pictures(place: SplitPlace, listed: Sequence[Any], entries: Entries) -> dict[int, Path]:
    """Pictures by position of their entry, as far as the entries can be used and the files exist."""
    names = {
        position: entry["file_name"].replace("\\", "/")
        for position, entry in enumerate(listed)
        if check_entry(position, entry, entries)
    }
    folder = choose_folder(place.image_folders, names.values())
    paths = {position: folder / name for position, name in names.items()}
    present = existing(list(paths.values()))
    require_any_picture(len(present), list(names.values()), place.annotations, place.image_folders)
    used: dict[Path, int] = {}
    for position, path in paths.items():
        if path not in present:
            entries.add(Kind.MISSING_PICTURE, TOP, position, f"{path} does not exist")
        elif path in used:
            entries.add(Kind.REPEATED_FILE, TOP, position, f"{path} is entry {used[path]} already")
        else:
            used[path] = position
    return {position: path for path, position in used.items()}


def _image_roots(annotations: Path) -> list[Path]:
    """`image_root` of `dataset_meta.json`, from that file's folder; none where it says nothing that can be read."""
    meta = next(iter(_beside(annotations, META)), None)
    if meta is None:
        return []
    try:
        return [Path(os.path.normpath(meta.parent / load_json(meta)["image_root"]))]
    except (DataError, KeyError, TypeError):
        return []
