"""Where a YOLO data set keeps its splits: as `data.yaml` says, or as the names of its folders show.

https://docs.ultralytics.com/datasets/detect/; Roboflow keeps `SPLIT/images` and `SPLIT/labels`.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from dinotune.data.formats.base import SPLIT_ALIASES, SplitPlace, several
from dinotune.data.formats.yolo.data_yaml import find_yaml, split_sources
from dinotune.data.formats.yolo.labels import looks_like_labels
from dinotune.errors import DataError

LOOKED_FOR = "data.yaml, labels/SPLIT/*.txt with images/SPLIT"

CLASSES = "classes.txt"

FIRST_LABELS = 20
"""So many texts beside pictures are looked into, to tell labels from captions."""

Pair = tuple[Path, Path]
"""Folder of pictures and folder of their label files."""


def find_yolo(root: Path) -> dict[str, SplitPlace]:
    """Splits of a YOLO folder by name (`train`, `val`, `test`); empty where nothing is found.

    `data.yaml` says where they lie. Without it, `images/SPLIT` with `labels/SPLIT`, `SPLIT/images` with
    `SPLIT/labels`, and pictures beside their labels are found, also without splits: all is `train` then.
    DataError for a `data.yaml` that cannot be read.
    """
    file = find_yaml(root)
    if file is not None and (sources := split_sources(file)):
        return {split: SplitPlace(file, folders, classes=file) for split, folders in sources.items()}
    found = _pairs(root)
    firsts = {split: pairs[0] for split, pairs in found.items()}
    others = [folder for _, labels in firsts.values() for folder in (labels, labels.parent)]
    return {
        split: SplitPlace(
            labels,
            (images,),
            classes=_described([labels, labels.parent, root, *others]) or root,
            unclear=several("folders", (texts for _, texts in found[split]), root, split),
        )
        for split, (images, labels) in firsts.items()
    }


def yolo_place(annotations: Path, images: Path | None, found: SplitPlace | None, split: str) -> SplitPlace:
    """Place of a split whose `data.yaml` or folder of label files is named explicitly.

    Pictures of `labels/train` lie in `images/train`, or in `images`. Classes are those of `found`, or described in the
    folder of label files, beside `labels` or one above. DataError where there are no pictures.
    """
    if annotations.is_file():
        folders = (images,) if images is not None else split_sources(annotations).get(split)
        if folders is None:
            raise DataError(f"{annotations}: no {split}; add `{split}: FOLDER` there, or name data.{split}.images")
        return SplitPlace(annotations, folders, classes=annotations)
    labels = next((folder for folder in (annotations, *annotations.parents) if folder.name == "labels"), annotations)
    images = images or labels.parent / "images" / annotations.relative_to(labels)
    if not images.is_dir():
        raise DataError(f"{annotations}: no pictures in {images}; name their folder with data.{split}.images")
    classes = found.classes if found is not None else _described([annotations, labels, labels.parent])
    return SplitPlace(annotations, (images,), classes=classes or labels)


def label_beside(picture: Path) -> Path:
    """Label file by the picture's path alone: the last folder `images` becomes `labels`; without one, beside it."""
    folders = list(picture.parent.parts)
    if "images" in folders:
        last = len(folders) - 1 - folders[::-1].index("images")
        folders[last] = "labels"
    return Path(*folders, f"{picture.stem}.txt")


def _described(folders: Iterable[Path]) -> Path | None:
    """The first `classes.txt`, or else the first `data.yaml`, of the folders."""
    listed = list(folders)
    texts = (folder / CLASSES for folder in listed)
    return next((text for text in texts if text.is_file()), None) or next(filter(None, map(find_yaml, listed)), None)


def _pairs(root: Path) -> dict[str, list[Pair]]:
    """All pairs that each split could be."""
    found = {}
    for split, aliases in SPLIT_ALIASES.items():
        if pairs := list(_of_split(root, re.compile(rf"(?:{'|'.join(aliases)})(?:[^a-z].*)?"))):
            found[split] = pairs
    if found:
        return found
    if _has_text(root / "labels") and (root / "images").is_dir():
        return {"train": [(root / "images", root / "labels")]}
    return {"train": [(root, root)]} if _side_by_side(root) else {}


def _of_split(root: Path, name: re.Pattern[str]) -> Iterator[Pair]:
    for images in _folders(root / "images", name):
        labels = root / "labels" / images.name
        if _has_text(labels):
            yield images, labels
    for folder in _folders(root, name):
        if (folder / "images").is_dir() and _has_text(folder / "labels"):
            yield folder / "images", folder / "labels"
        elif _side_by_side(folder):
            yield folder, folder


def _folders(above: Path, name: re.Pattern[str]) -> list[Path]:
    if not above.is_dir():
        return []
    return sorted(folder for folder in above.iterdir() if folder.is_dir() and name.fullmatch(folder.name))


def _has_text(folder: Path) -> bool:
    # Masks lie in `labels` too, as PNG.
    return folder.is_dir() and next(folder.rglob("*.txt"), None) is not None


def _side_by_side(folder: Path) -> bool:
    """Whether label files lie beside pictures of the same stem."""
    files = [path for path in folder.iterdir() if path.name != CLASSES] if folder.is_dir() else []
    others = {path.stem for path in files if path.suffix != ".txt"}
    texts = (path for path in files if path.suffix == ".txt" and path.stem in others)
    return any(looks_like_labels(path) for path in islice(texts, FIRST_LABELS))
