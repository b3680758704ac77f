"""The check of a data set: every problem of its annotations and pictures, and counts per class and size.

Loads no torch; what is found is described by `checks.report`.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dinotune import config
from dinotune.config.tasks import LabelKind
from dinotune.data import formats
from dinotune.data.checks.masks import PixelCounts, count_pixels
from dinotune.data.checks.pictures import Look, check_pictures
from dinotune.data.checks.splits import check_splits, class_counts, orphans, small_objects
from dinotune.data.formats.base import SplitPlace
from dinotune.data.needs import as_needed
from dinotune.data.problems import FileError, Findings, Kind, counted
from dinotune.data.records import LabelSet, Records
from dinotune.data.splits import find_places
from dinotune.errors import DataError

SMALL, LARGE = 32**2, 96**2
"""COCO's size classes: objects of less area are small, of more are large, in square pixels of the picture."""

USUAL_PATCH = 16
"""Patch of the DINOv3 models, where no backbone is named."""

SAMPLE = 9
"""Key that keeps the draw of sampled pictures apart from others of the same seed."""

Start = Callable[[str, int], None]
"""Called with a description and a number of pictures before they are decoded."""


@dataclass(frozen=True)
class SplitCounts:
    """One split in numbers; ignore regions are counted nowhere but in `ignored`."""

    split: str
    has: LabelKind
    pictures: int
    without_objects: int
    boxes: int
    ignored: int
    sizes: Mapping[str, int]
    """Boxes of COCO's size classes `small`, `medium`, `large`."""
    classes: Mapping[str, int]
    """Boxes of each class; or pictures that show it, where pictures or pixels have classes."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """Of the pixels that count in masks, by class."""


@dataclass(frozen=True)
class DataCheck:
    """What a check found."""

    root: Path | None
    format: str
    splits: tuple[SplitCounts, ...]
    findings: Findings
    decoded: int
    seconds: float
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Decoded:
    """How many pictures were decoded, and how long it took."""

    pictures: int
    of: int
    seconds: float
    pixels: Mapping[str, PixelCounts] = field(default_factory=dict)
    """What the masks of classes show, by split."""

    def __str__(self) -> str:
        sample = "" if self.pictures == self.of else f", a sample of {self.of:,}"
        return f"{counted(self.pictures, 'picture')} decoded{sample}, in {self.seconds:.1f} s"


def check_data(
    data: config.Data,
    *,
    needs: LabelKind | None = None,
    patch: int = USUAL_PATCH,
    start: Start = lambda *_: None,
    advance: Callable[[], None] = lambda: None,
) -> DataCheck:
    """Read every split whole, decode every picture, and name all that is wrong.

    Args:
        data: Where the data set lies; `limit` and `on_error` do not count here.
        needs: The labels that a head learns from; none checks those that are found first.
        patch: Pixels of a patch, for objects too small to be seen.
        start: Told what is about to be decoded.
        advance: Called after each picture.

    Raises:
        DataError: no annotations are found at all.
    """
    kind, places = find_places(data, needs)
    findings = Findings()
    records = _read(kind, places, needs, findings)
    files = {split: place.annotations for split, place in places.items()}
    decoded = decode(records, findings, start=start, advance=advance)
    findings.problems += check_splits(records, files, decoded.pixels)
    if "val" not in places and "train" in records and len(records["train"]) == 1:
        message = "train: one picture cannot be split into train and val; add pictures"
        findings.add(Kind.UNUSABLE_SPLIT, files["train"], message)
    if kind not in ("mask_folder", "instance_folder"):  # their readers have told pictures without masks
        findings.problems += orphans(records, places)
    for split, read in records.items():
        if small := small_objects(read, data, patch, patch, files[split]):
            findings.problems.append(small)
    once = Findings(list(dict.fromkeys(findings.problems)))  # a file that two splits share is read for both
    counts = tuple(count_split(split, read, decoded.pixels.get(split)) for split, read in records.items())
    notes = formats.passed_over(data.root, kind) if data.root is not None else ()
    notes += () if "val" in places else (_about_validation(data),)
    return DataCheck(data.root, kind, counts, once, decoded.pictures, decoded.seconds, notes)


def _read(
    kind: str, places: Mapping[str, SplitPlace], needs: LabelKind | None, findings: Findings
) -> dict[str, Records]:
    """All splits that can be read, with the classes of `train` and the labels that are needed."""
    records: dict[str, Records] = {}
    labels: LabelSet | None = None
    for split, place in places.items():
        try:
            records[split] = as_needed(formats.READERS[kind](place, split, labels, findings), needs)
        except FileError as error:
            findings.problems.append(error.problem)
        except DataError as error:
            message = str(error).removeprefix(f"{place.annotations}: ").removeprefix(f"{split}: ")
            findings.add(Kind.UNUSABLE_SPLIT, place.listing or place.annotations, f"{split}: {message}")
        else:
            labels = records["train"].labels if "train" in records else None
    return records


def decode(
    records: Mapping[str, Records],
    findings: Findings,
    *,
    most: int | None = None,
    seed: int = 0,
    start: Start = lambda *_: None,
    advance: Callable[[], None] = lambda: None,
) -> Decoded:
    """Decode pictures and masks of classes of all splits, of each at the `most` a sample drawn with `seed`."""
    began = time.perf_counter()
    looks = [look for split, read in records.items() for look in _looks(split, read, most, seed)]
    start("checking pictures", len(looks))
    masks = check_pictures(looks, findings, advance)
    pixels = {
        split: count_pixels(found, len(records[split].labels), len(records[split])) for split, found in masks.items()
    }
    return Decoded(len(looks), sum(len(read) for read in records.values()), time.perf_counter() - began, pixels)


def _looks(split: str, records: Records, most: int | None, seed: int) -> list[Look]:
    chosen = np.arange(len(records))
    if most is not None and most < len(records):
        chosen = np.sort(np.random.default_rng([seed, SAMPLE]).choice(len(records), most, replace=False))
    looks = []
    for index in chosen.tolist():
        picture, rows = records[index], records.offsets[index : index + 2].tolist()
        segments = None if records.segments is None else records.segments.part(*rows)
        looks.append(Look(split, picture.path, (picture.height, picture.width), picture.mask, segments))
    return looks


def count_split(split: str, records: Records, pixels: PixelCounts | None = None) -> SplitCounts:
    """Count pictures and boxes; what masks of classes show is in `pixels`."""
    targets = ~records.crowd
    areas = records.areas[targets]
    per_picture = np.diff(np.concatenate([[0], np.cumsum(targets)])[records.offsets])
    small, large = int((areas < SMALL).sum()), int((areas > LARGE).sum())
    return SplitCounts(
        split=split,
        has=records.has,
        pictures=len(records),
        without_objects=int((per_picture == 0).sum()) if pixels is None else pixels.empty,
        boxes=len(areas),
        ignored=int(records.crowd.sum()),
        sizes={"small": small, "medium": len(areas) - small - large, "large": large},
        classes=dict(zip(records.labels.names, class_counts(records, pixels).tolist(), strict=True)),
        shares={} if pixels is None else dict(zip(records.labels.names, pixels.shares.tolist(), strict=True)),
    )


def _about_validation(data: config.Data) -> str:
    return (
        f"no validation split: training holds out {data.validation_share:.0%} of the training pictures "
        "(data.validation_share)"
    )
