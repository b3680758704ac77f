"""Labels of pixels at the size of the picture: a class for each, or the pixels of each object."""

import math

import numpy as np
from jaxtyping import Bool, Int16, Int64

from dinotune.config.tasks import IGNORED
from dinotune.data.mask_files import read_class_map
from dinotune.data.records import ImageRecord
from dinotune.data.rle import decode_mask
from dinotune.errors import DataError


def class_map(record: ImageRecord) -> Int16[np.ndarray, "height width"]:
    """0-based class of each pixel, `IGNORED` where none counts: from the mask file, or else painted from the objects.

    Of overlapping objects the smaller one is on top. Ignore regions (crowds) are painted too: their pixels show the
    class. Of objects without a mask the box is ignored where no other object lies.

    Raises:
        DataError: the mask file cannot be used, or the mask of an object is broken.
    """
    hw = (record.height, record.width)
    if record.mask is not None:
        return read_class_map(record.mask, hw)
    painted = np.zeros(hw, np.int16)
    assert record.segments is not None, "the data has masks"
    masked = np.array([bool(text) for text in record.segments], np.bool_)
    for left, top, right, bottom in record.boxes[~masked].tolist():
        painted[math.floor(top) : math.ceil(bottom), math.floor(left) : math.ceil(right)] = IGNORED
    order = np.argsort(-record.areas, kind="stable")
    for row in order[masked[order]].tolist():
        painted[_object_mask(record, row)] = record.labels[row]
    return painted


def object_masks(
    record: ImageRecord, rows: Int64[np.ndarray, "chosen"] | None = None
) -> Bool[np.ndarray, "chosen height width"]:
    """The pixels of these objects of a picture, of all where none are named.

    Raises:
        DataError: an RLE that is broken, or of another size than the picture.
    """
    masks = [_object_mask(record, row) for row in (range(len(record.labels)) if rows is None else rows.tolist())]
    return np.stack(masks) if masks else np.zeros((0, record.height, record.width), np.bool_)


def _object_mask(record: ImageRecord, row: int) -> Bool[np.ndarray, "height width"]:
    assert record.segments is not None, "the data has a mask per object"
    try:
        return decode_mask(record.segments[row], (record.height, record.width))
    except DataError as error:
        raise DataError(f"{record.path}: object {row + 1} of {len(record.labels)}: {error}") from None
