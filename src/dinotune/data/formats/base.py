"""What all readers share: where a split lies, finding its pictures, and what was left out of it."""

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64
from PIL import Image

from dinotune.config.tasks import IGNORED_VALUE
from dinotune.data.images import image_size_hw
from dinotune.data.problems import FileError, Findings, Kind, Problem, some
from dinotune.errors import DataError

SPLITS = ("train", "val", "test")
SPLIT_ALIASES = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
"""Names under which data sets keep each split; Roboflow writes `valid`."""

FIRST_PICTURES = 20
"""So many pictures are sought in every folder: the very first may be the one that is missing."""

ROUNDING_PIXELS = 1.0
"""Boxes that overhang the picture by no more are rounded, not wrong (COCO's own do); they are clipped unnoticed."""

LARGEST = 1e12
"""Numbers beyond are no pixels, nor square pixels; sums and products of those below stay finite."""


@dataclass(frozen=True)
class MaskOptions:
    """What the settings say about masks."""

    wanted: bool = False
    """Whether masks of objects are kept; they take memory."""
    encoding: str = "auto"
    """`data.mask_encoding`."""
    ignored: tuple[int, ...] = (IGNORED_VALUE,)
    """`data.ignore_ids`."""


@dataclass(frozen=True)
class SplitPlace:
    """Files of one split."""

    annotations: Path
    """COCO, TorchVision JSON: the JSON file. Pascal VOC: the folder of XML files. YOLO: the folder of label files; or
    `data.yaml`, where each picture's path says where its label lies. Masks: their folder."""
    image_folders: tuple[Path, ...]
    """Where its pictures may lie, best guess first. YOLO: where they lie, all of them; also texts that list pictures."""
    listing: Path | None = None
    """Pascal VOC, also its masks: the text file that names the split's pictures; none takes every XML file."""
    classes: Path | None = None
    """YOLO: `data.yaml` or `classes.txt`; or the folder with all label files, where nothing names the classes. Pascal
    VOC: the data set's folder where each split has its own folder of XML files. Masks: the data set's folder."""
    masks: MaskOptions = MaskOptions()
    unclear: str = ""
    """What else could be the split, as an error has it; empty where nothing could."""


def several(what: str, candidates: Iterable[object], root: Path, split: str) -> str:
    """Sentence on several files or folders that could be one split; empty where there is but one."""
    listed = list(candidates)
    named = f"{root}: several {what} for split {split} ({some(listed)}); choose with data.{split}.annotations"
    return named if len(listed) > 1 else ""


def clip_boxes(
    boxes: Float64[np.ndarray, "objects 4"], hw: tuple[int, int], note: Callable[[int, Kind, str], None]
) -> tuple[Float64[np.ndarray, "objects 4"], Bool[np.ndarray, "objects"]]:
    """Xyxy pixel boxes clipped to a picture of `hw`, and which of them still have an area.

    `note(row, kind, message)` is called for every box that is left out or clipped by more than rounding.
    """
    clipped = np.clip(boxes, 0, np.array([hw[1], hw[0], hw[1], hw[0]], np.float64))
    keep = (clipped[:, 2:] > clipped[:, :2]).all(1)
    sides = boxes[:, 2:] - boxes[:, :2]
    beyond = np.abs(clipped - boxes).max(1, initial=0) > ROUNDING_PIXELS
    for row in np.flatnonzero(~keep | beyond).tolist():
        if (sides[row] < 0).any():
            kind = Kind.NEGATIVE_BOX
        elif keep[row]:
            kind = Kind.CLIPPED_BOX
        else:
            kind = Kind.OUTSIDE_BOX if beyond[row] and (sides[row] > 0).all() else Kind.EMPTY_BOX
        note(row, kind, f"{describe_box(boxes[row])} in a picture of {hw[1]} x {hw[0]} (width x height)")
    return clipped, keep


def note_duplicates(
    boxes: Float64[np.ndarray, "objects 4"], labels: Sequence[int], note: Callable[[int, Kind, str], None]
) -> None:
    """Call `note(row, kind, message)` for every box of a picture that repeats an earlier one of its class."""
    seen = set()
    for row, box in enumerate(zip(boxes.tolist(), labels, strict=True)):
        key = (*box[0], box[1])
        if key in seen:
            note(row, Kind.DUPLICATE_BOX, f"{describe_box(boxes[row])} is there already, of the same class")
        seen.add(key)


def describe_box(xyxy: Float64[np.ndarray, "4"]) -> str:
    """The box for messages: `box from (1, 2) to (3.5, 4)`."""
    x1, y1, x2, y2 = (f"{value:.6g}" for value in xyxy)
    return f"box from ({x1}, {y1}) to ({x2}, {y2})"


def pictures_below(folder: Path, most_files: int | None = None) -> list[Path]:
    """All pictures of a folder and those below it, sorted, none from hidden folders; of `most_files` files at the most."""
    found = (path for path in islice(folder.rglob("*"), most_files) if is_picture_name(path))
    above = len(folder.parts)
    shown = (path for path in found if not any(part.startswith(".") for part in path.parts[above:]))
    return sorted(shown, key=lambda path: path.parts)


def is_picture_name(path: Path) -> bool:
    """Whether a file's name is that of a picture that can be read; a hidden file (`._1.jpg` of macOS) is none."""
    return path.suffix.lower() in _suffixes() and not path.name.startswith(".")


@functools.cache
def _suffixes() -> frozenset[str]:
    return frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN)


def choose_folder(
    folders: Sequence[Path], names: Iterable[str], join: Callable[[Path, str], Path] = Path.joinpath
) -> Path:
    """The first folder that holds one of the first `names`, by their path in it; else the first that exists."""
    holding = (folder for name in islice(names, FIRST_PICTURES) for folder in folders if join(folder, name).is_file())
    present = (folder for folder in folders if folder.is_dir())
    return next(holding, None) or next(present, folders[0])


def existing(paths: Sequence[Path]) -> set[Path]:
    """Those of `paths` that exist; each folder is listed once, which is faster than asking for every file."""
    folders = {path.parent for path in paths}
    listed = {folder: {entry.name for entry in folder.iterdir()} for folder in folders if folder.is_dir()}
    return {path for path in paths if path.name in listed.get(path.parent, ())}


def require_any_picture(found: int, names: Sequence[str], annotations: Path, folders: Sequence[Path]) -> None:
    """FileError where not one of the `names` was found: then the folder is wrong, not the pictures."""
    if names and not found:
        message = (
            f"none of its {len(names)} pictures exists ({some(names)}); searched {some(folders, 6)}. "
            "Name the folder with data.SPLIT.images"
        )
        raise FileError(Problem(Kind.MISSING_PICTURE, annotations, message))


def size_from_header(path: Path, findings: Findings) -> tuple[int, int] | None:
    """Height and width of a picture whose annotation has none; none, and a problem, where it cannot be read."""
    try:
        return image_size_hw(path)
    except DataError as error:
        findings.add(Kind.UNREADABLE_PICTURE, path, str(error).removeprefix(f"{path}: "))
        return None
