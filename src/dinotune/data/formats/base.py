"""What all readers share: where a split lies, finding its pictures, and what was left out of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64

from dinotune.errors import DataError

SPLITS = ("train", "val", "test")
SPLIT_ALIASES = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
"""Names under which data sets keep each split; Roboflow writes `valid`."""

ROUNDING_PIXELS = 1.0
"""Boxes that overhang the picture by no more are rounded, not wrong (COCO's own do); they are clipped unnoticed."""


@dataclass(frozen=True)
class SplitPlace:
    """Files of one split."""

    annotations: Path
    """COCO: the JSON file. Pascal VOC: the folder of XML files."""
    image_folders: tuple[Path, ...]
    """Where its pictures may lie, best guess first."""
    listing: Path | None = None
    """Pascal VOC: the text file that names the split's pictures; none takes every XML file."""


@dataclass
class Findings:
    """Boxes that a reader left out or clipped, counted and named."""

    left_out: list[str] = field(default_factory=list)
    clipped: list[str] = field(default_factory=list)

    def usable(
        self, boxes: Float64[np.ndarray, "objects 4"], hw: tuple[int, int], places: Sequence[str]
    ) -> tuple[Float64[np.ndarray, "objects 4"], Bool[np.ndarray, "objects"]]:
        """Xyxy boxes clipped to a picture of `hw`, and which of them still have an area."""
        limits = np.array([hw[1], hw[0], hw[1], hw[0]], np.float64)
        clipped = np.clip(boxes, 0, limits)
        keep = (clipped[:, 2:] > clipped[:, :2]).all(1)
        beyond = np.abs(clipped - boxes).max(1, initial=0) > ROUNDING_PIXELS
        self.left_out += [places[i] for i in np.flatnonzero(~keep).tolist()]
        self.clipped += [places[i] for i in np.flatnonzero(keep & beyond).tolist()]
        return clipped, keep

    def notes(self) -> tuple[str, ...]:
        """A sentence per kind of finding."""
        kinds = (
            (self.left_out, "without an area inside the picture left out"),
            (self.clipped, "reaching beyond the picture clipped"),
        )
        return tuple(
            f"{len(places)} {'box' if len(places) == 1 else 'boxes'} {what}: {some(places)}"
            for places, what in kinds
            if places
        )


def some(names: Iterable[object], most: int = 3) -> str:
    """The first few names, with an ellipsis where more follow."""
    all_names = [str(name) for name in names]
    return ", ".join(all_names[:most]) + (", …" if len(all_names) > most else "")


def require_pictures(paths: Sequence[Path], annotations: Path, folders: Sequence[Path]) -> None:
    """DataError naming the first few files of `paths` that do not exist, their number and where they were sought."""
    listed: dict[Path, set[str]] = {}
    missing = []
    for path in paths:
        folder = path.parent
        if folder not in listed:
            listed[folder] = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
        if path.name not in listed[folder]:
            missing.append(path.name)
    if missing:
        raise DataError(
            f"{annotations}: {len(missing)} of {len(paths)} pictures do not exist: {some(missing)}; "
            f"searched {some(folders, 6)}. Name the folder with data.SPLIT.images"
        )
