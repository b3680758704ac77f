"""Mask folder reader: pictures with the file that says the class of each of their pixels."""

import itertools
from collections.abc import Sequence

import numpy as np

from dinotune.data.formats.base import SplitPlace
from dinotune.data.formats.labelled_pictures import headers_of
from dinotune.data.formats.mask_folder.classes import matched, own_classes
from dinotune.data.formats.mask_folder.pairs import Pair, find_pairs
from dinotune.data.images import Header
from dinotune.data.mask_files import MaskCoding, MaskFile
from dinotune.data.problems import Findings, Kind
from dinotune.data.records import ImageRecord, LabelSet, Records
from dinotune.errors import DataError


def read_mask_folder(place: SplitPlace, name: str, labels: LabelSet | None, findings: Findings) -> Records:
    """Records of one split, with ids 1..n in sorted order; no pixel is decoded, but for a sample of the masks.

    Classes are those of `classes.own_classes`, or matched by name to `labels` where given. Pictures without a mask of
    their size are left out and go into `findings`.

    Raises:
        FileError: there are no pictures with masks, or nothing says what the masks mean.
    """
    pairs = find_pairs(place, findings)
    own = own_classes(place, [pair.mask for pair in pairs], labels, findings)
    classes = matched(own, labels, place, findings)
    images = list(_images(pairs, classes.coding, findings))
    return Records.from_images(name, classes.labels, images, classes.notes)


def _images(pairs: Sequence[Pair], coding: MaskCoding, findings: Findings) -> list[ImageRecord]:
    headers = headers_of([pair.picture for pair in pairs])
    mask_headers = headers_of([pair.mask for pair in pairs])
    nothing = (np.empty((0, 4)), np.empty(0, np.int64), np.empty(0, np.bool_), np.empty(0))
    ids = itertools.count(1)
    return [
        ImageRecord(pair.picture, next(ids), *fits, *nothing, mask=MaskFile(pair.mask, coding))
        for pair, header, mask_header in zip(pairs, headers, mask_headers, strict=True)
        if (fits := fitting_size(pair, header, mask_header, findings))
    ]


def fitting_size(
    pair: Pair, header: Header | DataError, mask_header: Header | DataError, findings: Findings
) -> tuple[int, int] | None:
    """The size that a picture, turned or as stored, shares with its mask as stored; none, and a problem, where there is none."""
    picture, mask = pair
    if isinstance(header, DataError):
        findings.add(Kind.UNREADABLE_PICTURE, picture, str(header).removeprefix(f"{picture}: "))
        return None
    if isinstance(mask_header, DataError):
        findings.add(Kind.UNREADABLE_MASK, mask, str(mask_header).removeprefix(f"{mask}: "))
        return None
    hw, mask_hw = header.upright_hw, mask_header.stored_hw
    if mask_hw not in (hw, header.stored_hw):
        message = f"{mask_hw[1]} x {mask_hw[0]} pixels, but {picture.name} has {hw[1]} x {hw[0]} (width x height)"
        findings.add(Kind.WRONG_MASK_SIZE, mask, message)
        return None
    if header.orientation > 1 and hw == header.stored_hw:
        message = (
            f"EXIF orientation {header.orientation}: both ways have the size of {mask.name}; if it was drawn on the picture "
            "as stored, save the picture without EXIF"
        )
        findings.add(Kind.UNCLEAR_TURN, picture, message)
    return mask_hw
