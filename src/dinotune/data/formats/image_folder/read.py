"""ImageFolder reader: the folder that a picture lies in is its class."""

import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from dinotune.data.formats.base import SplitPlace, pictures_below
from dinotune.data.formats.image_folder.layout import class_folders
from dinotune.data.images import image_size_hw
from dinotune.data.problems import FileError, Findings, Kind, Problem, some
from dinotune.data.records import ImageRecord, LabelSet, Records
from dinotune.errors import DataError

MOST_THREADS = 16


def read_image_folder(place: SplitPlace, name: str, labels: LabelSet | None, findings: Findings) -> Records:
    """Records of one split; a picture's class is the folder of the split that it lies in, however deep.

    Classes are ordered by name, or matched to `labels` where given; folders that are none of them are left out and go
    into `findings`, as do pictures that cannot be read.
    """
    folders = class_folders(place.annotations)
    if not folders:
        raise FileError(Problem(Kind.UNUSABLE_SPLIT, place.annotations, "no folders with pictures, one per class"))
    labels = labels or LabelSet(tuple(path.name for path in folders), tuple(range(1, len(folders) + 1)))
    label_of = {known: label for label, known in enumerate(labels.names)}
    listed: list[tuple[Path, int]] = []
    for folder in folders:
        if folder.name not in label_of:
            findings.add(Kind.UNKNOWN_CLASS, folder, f"no class of {some(labels.names, 10)}")
            continue
        pictures = pictures_below(folder)
        if not pictures:
            findings.add(Kind.UNUSED_CLASS, folder, "no pictures in it")
        listed += [(path, label_of[folder.name]) for path in pictures]
    return Records.from_images(name, labels, labelled_pictures(listed, findings))


def labelled_pictures(listed: list[tuple[Path, int]], findings: Findings) -> list[ImageRecord]:
    """Pictures with the class of each, in this order, with ids from 1; those whose size cannot be read are left out."""
    with ThreadPoolExecutor(min(MOST_THREADS, 4 * (os.cpu_count() or 1))) as pool:
        sizes = list(pool.map(_size_or_error, (path for path, _ in listed)))
    nothing = (np.empty((0, 4)), np.empty(0, np.int64), np.empty(0, np.bool_), np.empty(0))
    ids = itertools.count(1)
    images = []
    for (path, label), size in zip(listed, sizes, strict=True):
        if isinstance(size, DataError):
            findings.add(Kind.UNREADABLE_PICTURE, path, str(size).removeprefix(f"{path}: "))
        else:
            images.append(ImageRecord(path, next(ids), *size, *nothing, image_label=label))
    return images


def _size_or_error(path: Path) -> tuple[int, int] | DataError:
    try:
        return image_size_hw(path)
    except DataError as error:
        return error
