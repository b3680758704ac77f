"""What is odd about whole splits: classes, object sizes, files that belong to nothing. Reported, with a remedy."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
from jaxtyping import Float64, Int64

from dinotune import config
from dinotune.config.tasks import BACKGROUND, LabelKind
from dinotune.data.buckets import network_size
from dinotune.data.checks.masks import PixelCounts
from dinotune.data.formats.base import SplitPlace, is_picture_name
from dinotune.data.formats.voc.layout import xml_files
from dinotune.data.problems import Kind, Problem, some
from dinotune.data.records import Records

RARE = 50
"""A class with so many times fewer boxes than the most frequent one is named."""

NOUNS: Mapping[LabelKind, str] = {
    "boxes": "box",
    "classes": "class",
    "semantic_masks": "pixel of a class",
    "instance_masks": "object with a mask",
}
"""What a split has nothing of."""

COUNTED: Mapping[LabelKind, str] = {
    "boxes": "boxes",
    "classes": "pictures",
    "semantic_masks": "pictures",
    "instance_masks": "objects",
}
"""What is counted per class."""

LISTED = 100
"""Classes named in one message."""

SERVED = 0.9
"""Share of the small objects that the advised size makes as large as a patch."""


def check_splits(
    records: Mapping[str, Records], files: Mapping[str, Path], pixels: Mapping[str, PixelCounts] = MappingProxyType({})
) -> Iterator[Problem]:
    """Splits without labels, and classes without, with few, or with untrained ones; `files` says where each split lies.

    What masks of classes show is in `pixels`; splits whose masks were not decoded are passed over.
    """
    known = {split: read for split, read in records.items() if read.mask_files is None or split in pixels}
    counts = {split: class_counts(read, pixels.get(split)) for split, read in known.items()}
    for split, count in counts.items():
        if not count.sum():
            message = f"{split}: {len(records[split])} pictures, but no {NOUNS[records[split].has]} that could be used"
            yield Problem(Kind.NO_LABELS, files[split], message)
    if "train" not in known or not counts["train"].sum():
        return
    labels = COUNTED[records["train"].has]
    names, trained = np.array(records["train"].labels.names), counts["train"]
    sample = str(pixels.get("train", ""))
    for split, count in counts.items():
        if untrained := names[(trained == 0) & (count > 0)].tolist():
            message = f"{split} has {labels} of {some(untrained, LISTED)}; train has none{sample}"
            yield Problem(Kind.UNTRAINED_CLASS, files[split], message)
    if unused := names[sum(counts.values()) == 0].tolist():
        message = f"{len(unused)} of {len(names)} classes have no {labels} in {', '.join(known)}{sample}: {some(unused, LISTED)}"
        yield Problem(Kind.UNUSED_CLASS, files["train"], message)
    rare = np.flatnonzero((trained > 0) & (trained * RARE <= trained.max()))
    if len(rare):
        listed = some((f"{names[i]} ({trained[i]:,})" for i in rare), LISTED)
        most = trained.argmax()
        message = f"train has {trained[most]:,} {labels} of {names[most]}, but {RARE} times fewer or less of {listed}"
        remedy = "; data.repeat_rare shows them more often" if records["train"].mask_files is None else ""
        yield Problem(Kind.RARE_CLASS, files["train"], message + remedy)


def class_counts(records: Records, pixels: PixelCounts | None = None) -> Int64[np.ndarray, "classes"]:
    """Boxes of each class, without ignore regions; or pictures that show it, where pictures or pixels have classes.

    What masks of classes show is in `pixels`; without, it is nothing.
    """
    if pixels is not None:
        return pixels.pictures
    if records.image_labels is not None:
        return np.bincount(records.image_labels, minlength=len(records.labels))
    if records.has != "semantic_masks":
        return np.bincount(records.box_labels[~records.crowd], minlength=len(records.labels))
    shown = np.bincount(records.shown_classes()[1], minlength=len(records.labels))
    if records.segments is not None and records.labels.names[0] == BACKGROUND:
        shown[0] = len(records)  # around the objects
    return shown


def small_objects(records: Records, data: config.Data, patch: int, multiple: int, file: Path) -> Problem | None:
    """Objects of less area than one patch at the network size, and the `data.size` that would help most of them."""
    sides = network_sides(records, data, multiple)
    small = sides[sides < patch]
    if not len(small):
        return None
    factor = patch / np.quantile(small, 1 - SERVED)
    size = int(np.ceil(data.size * factor / multiple) * multiple)
    own = int(np.median(records.sizes_hw.min(1)))
    beyond = f"; pictures have {own} px, beyond which little is gained" if size > own else ""
    longer = "" if data.max_size is None else f" (and data.max_size in proportion: {round(data.max_size * factor)})"
    message = (
        f"{len(small):,} of {len(sides):,} objects ({len(small) / len(sides):.1%}) are smaller than a patch of {patch} x "
        f"{patch} at data.size={data.size}; data.size={size} makes {SERVED:.0%} of them as large as one{longer}{beyond}"
    )
    return Problem(Kind.SMALL_OBJECTS, file, message)


def network_sides(records: Records, data: config.Data, multiple: int) -> Float64[np.ndarray, "objects"]:
    """Square root of each object's area in pixels of the network input."""
    shapes, inverse = np.unique(records.sizes_hw, axis=0, return_inverse=True)
    areas = [np.prod(network_size((int(h), int(w)), data, multiple)) / (h * w) for h, w in shapes]
    scales = np.repeat(np.sqrt(np.array(areas))[inverse.reshape(-1)], np.diff(records.offsets))
    width, height = (records.boxes[:, 2:] - records.boxes[:, :2]).T
    sides: Float64[np.ndarray, "objects"] = (np.sqrt(width * height) * scales)[~records.crowd]
    return sides


def orphans(records: Mapping[str, Records], places: Mapping[str, SplitPlace]) -> Iterator[Problem]:
    """Pictures beside used ones that no annotation names, and XML files that no listing names."""
    used = {Path(path) for read in records.values() for path in read.paths.tolist()}
    for folder in sorted({path.parent for path in used}):
        for path in sorted(folder.iterdir()):
            if path not in used and is_picture_name(path):
                yield Problem(Kind.ORPHAN_PICTURE, path, "no usable annotation names it")
    listings = [place.listing for place in places.values() if place.listing is not None]
    listed = {
        line.strip()
        for listing in listings
        for line in listing.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    }
    for folder in sorted({place.annotations for place in places.values() if place.listing is not None}):
        for file in xml_files(folder):
            if file.stem not in listed:
                yield Problem(Kind.ORPHAN_ANNOTATION, file, "no listing in ImageSets/Main names it")
