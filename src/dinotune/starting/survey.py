"""What a data set holds, as far as it matters for choosing settings: counts, picture and object sizes."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from dinotune import config
from dinotune.config.tasks import LabelKind
from dinotune.data import formats
from dinotune.data.buckets import LONGEST
from dinotune.data.checks.masks import sampled_pixels
from dinotune.data.checks.splits import class_counts
from dinotune.data.formats.base import SPLITS
from dinotune.data.problems import Findings
from dinotune.data.records import Records
from dinotune.data.splits import read_split
from dinotune.errors import DataError
from dinotune.starting.folder import Found

MOST_MASKS = 100
"""So many masks are looked into, to see which classes there are."""


@dataclass(frozen=True)
class Count:
    """Pictures and labels of one split."""

    pictures: int
    labels: int
    """Boxes; or pictures, where those or their pixels have classes."""


@dataclass(frozen=True)
class Survey:
    """A data set in numbers; sizes are of the training split."""

    found: Found
    counts: Mapping[str, Count]
    """By split; `val` also where it is held out."""
    has: LabelKind
    held_out: bool
    """Whether `val` is a share of the training pictures."""
    classes: Mapping[str, int]
    """Training labels per class; of masks in a sample, pictures that show it."""
    picture_hw: tuple[int, int]
    """Median height and width in pixels."""
    object_sides: Float64[np.ndarray, "objects"]
    """Square root of each training box's area, in pixels of its picture."""
    object_shares: Float64[np.ndarray, "objects"]
    """The same side for a network input of `data.size` 1; times `data.size` it is in pixels of the network input."""
    most_objects: int
    """Objects in the fullest picture of all splits."""
    broken: int
    """Entries and files that training stops on, unless `data.on_error` is `skip`."""
    notes: tuple[str, ...]
    """How the data set was found, and what its readers left out or changed."""

    @property
    def short_side(self) -> int:
        """The shorter side of the median picture in pixels."""
        return min(self.picture_hw)


def survey(found: Found) -> Survey:
    """Read every split and count; broken entries are left out and noted, since `dinotune check` lists them.

    Raises:
        DataError: nothing can be read, there is no training split, or it has no boxes.
    """
    data = config.Data.model_validate({"root": found.root, "format": found.format})
    on_disk = formats.find_splits(found.root, found.format)
    findings = Findings()
    train = read_split(data, "train", seed=0, labels=None, findings=findings)
    records = {"train": train}
    for split in SPLITS[1:]:
        if split in on_disk or split == "val":
            records[split] = read_split(data, split, seed=0, labels=train.labels, findings=findings)
    # Where validation pictures are held out, the training file was read twice.
    once = Findings(list(dict.fromkeys(findings.problems)))
    targets = ~train.crowd
    classes = class_counts(train, sampled_pixels(train, MOST_MASKS))
    if not classes.any():
        why = (
            f" that can be used; dinotune check {found.root} says why"
            if once.stopping
            else "; label some pictures first"
        )
        raise DataError(f"{found.root}: no training picture has a box{why}")
    sides = np.sqrt(np.diff(train.boxes.reshape(-1, 2, 2), axis=1).prod(2).reshape(-1))
    return Survey(
        found=found,
        counts={split: Count(len(read), _labels(read)) for split, read in records.items()},
        has=train.has,
        held_out="val" not in on_disk,
        classes=dict(zip(train.labels.names, classes.tolist(), strict=True)),
        picture_hw=(int(np.median(train.sizes_hw[:, 0])), int(np.median(train.sizes_hw[:, 1]))),
        object_sides=sides[targets],
        object_shares=(sides * np.repeat(_scales(train), np.diff(train.offsets)))[targets],
        most_objects=max(_most_objects(read) for read in records.values()),
        broken=len(once.stopping),
        notes=(*found.notes, *once.notes(), *dict.fromkeys(note for read in records.values() for note in read.notes)),
    )


def _labels(records: Records) -> int:
    return len(records) if records.mask_files is not None else int(class_counts(records).sum())


def _scales(records: Records) -> Float64[np.ndarray, "images"]:
    """Network pixels per picture pixel at `data.size` 1: the shorter side fits, unless the longer one is too long."""
    short, long = records.sizes_hw.min(1), records.sizes_hw.max(1)
    scales: Float64[np.ndarray, "images"] = np.minimum(1 / short, LONGEST / long)
    return scales


def _most_objects(records: Records) -> int:
    ends = np.concatenate([[0], np.cumsum(~records.crowd)])[records.offsets]
    return int(np.diff(ends).max(initial=0))
