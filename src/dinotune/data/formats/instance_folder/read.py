"""Instance folder reader: pictures with a file that numbers the objects in their pixels."""

import functools
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32

from dinotune.data.formats.base import SplitPlace
from dinotune.data.formats.class_names import with_ids_of
from dinotune.data.formats.instance_folder.classes import NAMELESS, Classify, object_classes
from dinotune.data.formats.instance_folder.layout import OBJECTS
from dinotune.data.formats.instance_folder.regions import find_regions, run_lengths
from dinotune.data.formats.labelled_pictures import MOST_THREADS, headers_of
from dinotune.data.formats.mask_folder.known_sets import VOC_BORDER, voc_colour
from dinotune.data.formats.mask_folder.pairs import Pair, find_pairs
from dinotune.data.formats.mask_folder.read import fitting_size
from dinotune.data.formats.mask_folder.values import Masks
from dinotune.data.mask_files import Encoding, read_values
from dinotune.data.problems import Findings, Kind, some
from dinotune.data.records import ImageRecord, LabelSet, Records
from dinotune.errors import DataError


def read_instance_folder(place: SplitPlace, name: str, labels: LabelSet | None, findings: Findings) -> Records:
    """Records of one split, with ids 1..n in sorted order; every value of a mask but 0 is an object.

    Masks of objects are kept where `place.masks.wanted`. Classes are matched by name to `labels` where given, a class
    without a name to the only one there is. What cannot be read is left out and goes into `findings`.

    Raises:
        FileError: there are no pictures with masks.
    """
    pairs = find_pairs(place, findings, OBJECTS.ends)
    classes = object_classes(place, pairs, findings)
    own = classes.labels
    if labels is not None and own.names == (NAMELESS,) and len(labels) == 1:
        own = LabelSet(labels.names, own.ids)
    places = {known: label for label, known in enumerate((labels or own).names)}
    if unknown := [known for known in own.names if known not in places]:
        message = f"{some(unknown, 20)}: not among the classes of the model, {some(places, 10)}"
        findings.add(Kind.UNKNOWN_CLASS, place.annotations, message)
    label_of = np.array([*(places.get(known, -1) for known in own.names), -1], np.int64)
    masks = Masks([pair.mask for pair in pairs])
    reading = _Reading(
        "colours" if masks.coloured else "ids",
        _no_object(place, coloured=masks.coloured),
        classes.classify,
        label_of,
        _compressor(wanted=place.masks.wanted),
    )
    images = _images(pairs, reading, findings)
    return Records.from_images(name, own if labels is None else with_ids_of(own, labels), images)


@dataclass(frozen=True)
class _Reading:
    """How the objects of one picture are read."""

    encoding: Encoding
    no_object: tuple[int, ...]
    """Values beside 0."""
    classify: Classify
    label_of: np.ndarray
    """Label of each class of the data set, -1 at the end and for those that are left out."""
    compress: Callable[[list[list[int]], tuple[int, int]], list[str]] | None
    """Makes texts of run lengths, where masks are wanted."""

    def __call__(self, pair: Pair, image_id: int, hw: tuple[int, int]) -> ImageRecord:
        """The picture with its objects; DataError where a mask cannot be read."""
        numbers: Int32[np.ndarray, "height width"] = read_values(pair.mask, self.encoding)
        numbers[np.isin(numbers, self.no_object)] = 0
        regions = find_regions(numbers)
        found = self.classify(regions, numbers, pair)
        labels = self.label_of[found.labels]
        keep = labels >= 0
        segments = None
        if self.compress is not None:
            counts = [run_lengths(regions.runs[row], numbers.size) for row in np.flatnonzero(keep).tolist()]
            segments = tuple(self.compress(counts, hw))
        columns = (regions.boxes[keep], labels[keep], found.crowd[keep], regions.areas[keep])
        return ImageRecord(pair.picture, image_id, *hw, *columns, segments=segments)


def _no_object(place: SplitPlace, *, coloured: bool) -> tuple[int, ...]:
    """Pascal VOC has borders around objects."""
    if place.annotations.name != OBJECTS.voc:
        return ()
    return (voc_colour(VOC_BORDER),) if coloured else (VOC_BORDER,)


def _compressor(*, wanted: bool) -> Callable[[list[list[int]], tuple[int, int]], list[str]] | None:
    if not wanted:
        return None
    from dinotune.data.rle import compress

    return compress


def _images(pairs: list[Pair], reading: _Reading, findings: Findings) -> list[ImageRecord]:
    headers = headers_of([pair.picture for pair in pairs])
    mask_headers = headers_of([pair.mask for pair in pairs])
    ids = itertools.count(1)
    fitting = [
        (pair, next(ids), fits)
        for pair, header, mask_header in zip(pairs, headers, mask_headers, strict=True)
        if (fits := fitting_size(pair, header, mask_header, findings))
    ]
    images = []
    with ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1)) as pool:
        read = pool.map(functools.partial(_or_error, reading), *zip(*fitting, strict=True)) if fitting else ()
        for (pair, _, _), image in zip(fitting, read, strict=True):
            if isinstance(image, DataError):
                findings.add(Kind.UNREADABLE_MASK, pair.mask, str(image).removeprefix(f"{pair.mask}: "))
            else:
                images.append(image)
    return images


def _or_error(reading: _Reading, pair: Pair, image_id: int, hw: tuple[int, int]) -> ImageRecord | DataError:
    try:
        return reading(pair, image_id, hw)
    except DataError as error:
        return error
