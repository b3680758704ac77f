"""The classes of numbered objects: one for all, by Cityscapes' numbers, or by the class masks of Pascal VOC."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int32, Int64

from dinotune.config.tasks import BACKGROUND
from dinotune.data.formats.base import SplitPlace
from dinotune.data.formats.instance_folder.layout import OBJECTS
from dinotune.data.formats.instance_folder.regions import Regions
from dinotune.data.formats.mask_folder.class_files import class_files
from dinotune.data.formats.mask_folder.classes import class_folders_of, own_classes
from dinotune.data.formats.mask_folder.known_sets import CITYSCAPES_NAMES
from dinotune.data.formats.mask_folder.layout import CLASSES
from dinotune.data.formats.mask_folder.meanings import is_ignored_name
from dinotune.data.formats.mask_folder.pairs import Pair
from dinotune.data.mask_files import MaskCoding, MaskFile, read_class_map
from dinotune.data.problems import Findings
from dinotune.data.records import LabelSet

NAMELESS = "object"
"""The class of objects that nothing names."""

THINGS = {id_: name for id_, name in CITYSCAPES_NAMES.items() if id_ >= 24}
"""Cityscapes' classes with numbered objects."""

PER_CLASS = 1000
"""Cityscapes' values are label id * 1000 + number; a label id alone is a group that could not be told apart."""


class Classified(NamedTuple):
    """The class of each object, -1 for none, and which are groups."""

    labels: Int64[np.ndarray, "objects"]
    crowd: Bool[np.ndarray, "objects"]


Classify = Callable[[Regions, Int32[np.ndarray, "height width"], Pair], Classified]


@dataclass(frozen=True)
class ObjectClasses:
    """The classes of a data set, and what tells an object's."""

    labels: LabelSet
    classify: Classify


def object_classes(place: SplitPlace, pairs: Sequence[Pair], findings: Findings) -> ObjectClasses:
    """What the numbers of a split say beside the objects themselves."""
    if pairs[0].mask.stem.endswith("_instanceIds"):
        return ObjectClasses(LabelSet(tuple(THINGS.values()), tuple(THINGS)), _cityscapes)
    if place.annotations.name == OBJECTS.voc:
        beside = SplitPlace(place.annotations.with_name(CLASSES.voc), (), classes=place.classes)
        masks = [_class_mask(pair.mask) for pair in pairs]
        if all(mask.is_file() for mask in masks):
            own = own_classes(beside, masks, None, findings)
            if any(name.lower() != BACKGROUND for name in own.labels.names):
                return _by_majority(own.labels, own.coding)
    return ObjectClasses(LabelSet((_one_name(place),), (1,)), _alike)


def _one_name(place: SplitPlace) -> str:
    """The class that a file names, if it names but one beside the background."""
    for file in class_files(class_folders_of(place)):
        names = [str(name).strip() for name in file.names.values()]
        named = [name for name in names if name.lower() != BACKGROUND and not is_ignored_name(name)]
        if len(named) == 1:
            return named[0]
    return NAMELESS


def _alike(regions: Regions, _: Int32[np.ndarray, "height width"], __: Pair) -> Classified:
    count = len(regions.values)
    return Classified(np.zeros(count, np.int64), np.zeros(count, np.bool_))


def _cityscapes(regions: Regions, _: Int32[np.ndarray, "height width"], __: Pair) -> Classified:
    group = regions.values < PER_CLASS
    ids = np.where(group, regions.values, regions.values // PER_CLASS)
    places = {id_: label for label, id_ in enumerate(THINGS)}
    return Classified(np.array([places.get(id_, -1) for id_ in ids.tolist()], np.int64), group)


def _class_mask(mask: Path) -> Path:
    parts = [CLASSES.voc if part == OBJECTS.voc else part for part in mask.parts]
    return Path(*parts)


def _by_majority(labels: LabelSet, coding: MaskCoding) -> ObjectClasses:
    """The class that most of an object's pixels have in the mask of classes."""
    kept = [label for label, name in enumerate(labels.names) if name.lower() != BACKGROUND]
    own = LabelSet(tuple(labels.names[label] for label in kept), tuple(labels.ids[label] for label in kept))

    def classify(regions: Regions, numbers: Int32[np.ndarray, "height width"], pair: Pair) -> Classified:
        classes = read_class_map(MaskFile(_class_mask(pair.mask), coding), (numbers.shape[0], numbers.shape[1]))
        shown = np.isin(numbers, regions.values)
        rows = np.searchsorted(regions.values, numbers[shown]) * (len(labels) + 1) + classes[shown] + 1
        size = len(regions.values) * (len(labels) + 1)
        counts = np.bincount(rows, minlength=size).reshape(-1, len(labels) + 1)[:, 1:][:, kept]
        found = np.where(counts.any(1), counts.argmax(1), -1).astype(np.int64)
        return Classified(found, np.zeros(len(found), np.bool_))

    return ObjectClasses(own, classify)
