"""Where the splits of a mask folder lie: masks in a tree of their own, in each split's folder, or beside the pictures."""

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from dinotune.data.formats.base import SPLIT_ALIASES, SplitPlace, several
from dinotune.data.formats.mask_folder.pairs import MASK_ENDS, ends_of
from dinotune.data.images import DECODING_ERRORS

LOOKED_FOR = (
    "masks/SPLIT/*.png with images/SPLIT, SPLIT/masks with SPLIT/images, gtFine/SPLIT with leftImg8bit/SPLIT, "
    "SegmentationClass with JPEGImages, SPLIT/*_mask.png beside the pictures"
)

MASKS = (
    "masks", "mask", "semantic_masks", "labels_semantic", "segmentations", "gtFine", "gtCoarse", "annotations", "labels",
)  # fmt: skip
PICTURES = ("images", "image", "imgs", "img", "pictures", "leftImg8bit", "JPEGImages")
"""Names of folders that masks and pictures lie in; other formats use some of them, so there must be both."""

INSTANCES = ("instance_masks", "instances", "instance", "labels_instance")
TREES = (*MASKS, *INSTANCES)
"""Folders that may have one for each split."""

VOC_PICTURES, VOC_LISTS = "JPEGImages", "ImageSets/Segmentation"

FURTHER_ALIASES = {"train": ("training",), "val": (), "test": ("testing",)}
"""ADE20K and data sets after it say `training`."""

FIRST_FILES = 20
"""So many files of a folder are looked into, to see whether they are masks."""

Folders = tuple[Path, Path]
"""Of masks and of pictures."""


class Words(NamedTuple):
    """What masks of one kind are called."""

    folders: tuple[str, ...]
    ends: tuple[str, ...]
    """Of their stems; see `pairs.MASK_ENDS`."""
    voc: str
    """Pascal VOC's folder of them."""


CLASSES = Words(MASKS, MASK_ENDS, "SegmentationClass")


def find_mask_folder(root: Path, words: Words = CLASSES) -> dict[str, SplitPlace]:
    """Splits by name (`train`, `val`, `test`); empty where nothing is found. Masks without splits are `train`."""
    found = _voc(root, words)
    if not found:
        places = {split: _of_split(root, split, words) for split in SPLIT_ALIASES}
        found = {split: place for split, place in places.items() if place}
    return found or _without_splits(root, words)


def mask_image_folders(masks: Path, root: Path | None, split: str) -> tuple[Path, ...]:
    """Where the pictures of a folder of masks may lie, best guess first."""
    own = [folder for pictures in PICTURES for folder in (masks.parent.parent / pictures / masks.name,)]
    beside = [masks.parent / pictures for pictures in PICTURES]
    below = [] if root is None else [root / p / name for p in PICTURES for name in (masks.name, *_aliases(split), "")]
    return (*own, *below, *beside, masks.parent.parent / masks.name, masks, *([] if root is None else [root]))


def holds_masks(folder: Path, words: Words = CLASSES) -> bool:
    """Whether a folder that someone names holds masks: there are pictures to them, or nothing but grey PNG files."""
    if any(ends_of(folder, pictures, words.ends) for pictures in mask_image_folders(folder, None, "train")):
        return True
    files = [path for path in islice(folder.iterdir(), FIRST_FILES) if path.is_file()]
    return bool(files) and all(path.suffix.lower() == ".png" and _is_grey(path) for path in files)


def _is_grey(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            return not image.mode.startswith("RGB")
    except DECODING_ERRORS:
        return False


def _aliases(split: str) -> tuple[str, ...]:
    return (*SPLIT_ALIASES[split], *FURTHER_ALIASES[split])


def _voc(root: Path, words: Words) -> dict[str, SplitPlace]:
    """Pascal VOC's layout: its lists name the pictures of each split. CVAT writes `default.txt` for all."""
    masks, pictures = root / words.voc, root / VOC_PICTURES
    if ends_of(masks, pictures, words.ends) is None:
        return {}
    found = {}
    for split in SPLIT_ALIASES:
        names = (*_aliases(split), *(name.capitalize() for name in _aliases(split)))
        lists = (root / VOC_LISTS / f"{name}.txt" for name in names)
        if listing := next((path for path in lists if path.is_file()), None):
            found[split] = SplitPlace(masks, (pictures,), listing, classes=root)
    everything = root / VOC_LISTS / "default.txt"
    listing = everything if everything.is_file() else None
    return found or {"train": SplitPlace(masks, (pictures,), listing, classes=root)}


def _of_split(root: Path, split: str, words: Words) -> SplitPlace | None:
    """The place of a split in the first layout that has masks and pictures."""
    name = re.compile(rf"(?:{'|'.join(_aliases(split))})(?:[^a-z].*)?")
    for layout in _layouts(root, name, _aliases(split), words):
        paired = {inner: pair for inner, pairs in layout.items() if (pair := _first_pair(pairs, words))}
        exact = [pair for inner, pair in paired.items() if inner.name in _aliases(split)]
        found = exact or list(paired.values())
        if found:
            masks, pictures = found[0]
            unclear = several("folders", (folder for folder, _ in found), root, split)
            return SplitPlace(masks, (pictures,), classes=root, unclear=unclear)
    return None


def _layouts(
    root: Path, name: re.Pattern[str], aliases: tuple[str, ...], words: Words
) -> Iterator[dict[Path, list[Folders]]]:
    """For each layout the folders that are named as the split, and where its masks and pictures may lie then."""
    for masks in words.folders:
        yield {
            inner: [(inner, pictures) for pictures in _pictures_of(root, (inner.name, *aliases))]
            for inner in _folders(root / masks, name)
        }
    for masks in words.folders:
        yield {
            inner: [(inner / masks, inner / pictures) for pictures in (*PICTURES, "")] for inner in _folders(root, name)
        }
    yield {
        inner: [(inner.with_name(f"{inner.name}_{masks}"), inner) for masks in words.folders]
        for inner in _folders(root, name)
    }
    for base in (root, root / "images", root / "images" / "ADE"):
        yield {inner: [(inner, inner)] for inner in _folders(base, name)}


def _first_pair(pairs: list[Folders], words: Words) -> Folders | None:
    return next((pair for pair in pairs if ends_of(*pair, words.ends)), None)


def _pictures_of(root: Path, names: tuple[str, ...]) -> list[Path]:
    return [folder for name in names for folder in (*(root / pictures / name for pictures in PICTURES), root / name)]


def _folders(above: Path, name: re.Pattern[str]) -> list[Path]:
    if not above.is_dir():
        return []
    return sorted(folder for folder in above.iterdir() if folder.is_dir() and name.fullmatch(folder.name))


def _without_splits(root: Path, words: Words) -> dict[str, SplitPlace]:
    apart = [(root / masks, root / pictures) for masks in words.folders for pictures in (*PICTURES, "")]
    pair = _first_pair(apart, words)
    if pair is None and ends_of(root, root, words.ends, "*"):
        pair = (root, root)
    return {} if pair is None else {"train": SplitPlace(pair[0], (pair[1],), classes=root)}
