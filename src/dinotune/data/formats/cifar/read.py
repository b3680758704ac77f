"""CIFAR reader: unpacks the pictures once, beside the files they come in."""

from pathlib import Path

import numpy as np

from dinotune.data.formats.base import SplitPlace
from dinotune.data.formats.cifar.batches import SIDE, read_batches
from dinotune.data.formats.cifar.layout import find_file
from dinotune.data.formats.cifar.unpack import unpacked
from dinotune.data.problems import Findings, Kind, some
from dinotune.data.records import ImageRecord, LabelSet, Records


def read_cifar(place: SplitPlace, name: str, labels: LabelSet | None, findings: Findings) -> Records:
    """Records of one split, with CIFAR-100's fine classes.

    Classes keep their order and their numbers, or are matched by name to `labels` where given; pictures of others are
    left out and go into `findings`. What is pickled in the files is not trusted: arrays, numbers and texts are read.

    Raises:
        FileError: a file is missing or not as CIFAR's are; unpacked pictures are not those of the files.
        DataError: the pictures cannot be unpacked.
    """
    variant, split = find_file(place.annotations)
    folder = place.annotations.parent
    batch = read_batches(variant, split, folder)
    target = place.image_folders[0] / split
    paths = unpacked(batch, target)
    labels = labels or LabelSet(batch.names, tuple(range(len(batch.names))))
    label_of = {known: label for label, known in enumerate(labels.names)}
    for unknown in (known for known in batch.names if known not in label_of):
        findings.add(Kind.UNKNOWN_CLASS, folder / variant.meta, f'"{unknown}" is no class of {some(labels.names, 10)}')
    note = f"{variant.name}: the pictures of {folder.name} are unpacked in {target}"
    return Records.from_images(name, labels, _images(paths, [batch.names[i] for i in batch.labels], label_of), (note,))


def _images(paths: list[Path], classes: list[str], label_of: dict[str, int]) -> list[ImageRecord]:
    nothing = (np.empty((0, 4)), np.empty(0, np.int64), np.empty(0, np.bool_), np.empty(0))
    return [
        ImageRecord(path, number, SIDE, SIDE, *nothing, image_label=label_of[name])
        for number, (path, name) in enumerate(zip(paths, classes, strict=True), 1)
        if name in label_of
    ]
