"""Estimate in which other size of the pictures detected boxes were given, by a vote of box pairs.

A detection and an object of one class vote for the scale between them if it also brings their centres together.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Float64

from dinotune.data.records import Records
from dinotune.tasks.detection.detected_boxes import DetectedBoxes

BIN = 0.03
"""Width of a vote's bin: sizes that differ by 3 % vote together."""
CENTRES_MEET = 0.15
"""Largest distance of the centres, in sides of the object."""

Pairs = Float64[np.ndarray, "pairs 2"]


def picture_sizes(records: Records, detected: DetectedBoxes) -> Float64[np.ndarray, "detections 2"]:
    """Width and height of each detection's picture; 1 for pictures that the records lack."""
    row_of_image = {image_id: row for row, image_id in enumerate(records.image_ids.tolist())}
    rows = np.array([row_of_image.get(image_id, -1) for image_id in detected.image_ids.tolist()], np.int64)
    sizes = np.concatenate([records.sizes_hw[:, ::-1], [[1, 1]]]).astype(np.float64)
    chosen: Float64[np.ndarray, "detections 2"] = sizes[rows]
    return chosen


def scaled(
    boxes: Float[np.ndarray, "detections 4"], scale: Float64[np.ndarray, "*detections 2"]
) -> Float64[np.ndarray, "detections 4"]:
    """Boxes times a scale (x, y), one for all or one each."""
    result: Float64[np.ndarray, "detections 4"] = boxes * np.concatenate([scale, scale], axis=-1)
    return result


def other_size_hypotheses(
    records: Records, detected: DetectedBoxes
) -> Iterator[tuple[str, Float64[np.ndarray, "detections 4"]]]:
    """What is wrong, and the boxes in picture pixels: stretched pictures, a fixed longer side, a fixed factor."""
    scales, sizes = _votes(records, detected)
    if not len(scales):
        return
    of_picture = picture_sizes(records, detected)
    width, height = network = _mode(sizes / scales)
    yield (
        f"Boxes are in pixels of a network input of about {width:.0f}x{height:.0f} (width x height) "
        "instead of the picture's own pixels",
        scaled(detected.boxes, of_picture / network),
    )
    longer = sizes.max(axis=1, keepdims=True)
    [side] = _mode(longer / np.sqrt(scales.prod(axis=1, keepdims=True)))
    yield (
        f"Boxes are in pixels of pictures resized to a longer side of about {side:.0f} instead of the picture's own",
        scaled(detected.boxes, np.repeat(of_picture.max(axis=1, keepdims=True) / side, 2, axis=1)),
    )
    factor = _mode(scales)
    yield (
        f"Boxes must be multiplied by about {factor[0]:.3g} across and {factor[1]:.3g} down to be in picture pixels",
        scaled(detected.boxes, factor),
    )


def _votes(records: Records, detected: DetectedBoxes) -> tuple[Pairs, Pairs]:
    """Scale (x, y) and picture size (width, height) of each pair of boxes that could be one object."""
    scales, sizes = [np.empty((0, 2))], [np.empty((0, 2))]
    order = np.argsort(detected.image_ids, kind="stable")
    starts = np.searchsorted(detected.image_ids[order], records.image_ids, side="left")
    ends = np.searchsorted(detected.image_ids[order], records.image_ids, side="right")
    for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
        image, rows = records[index], order[start:end]
        boxes = detected.boxes[rows]
        side, centre = boxes[:, 2:] - boxes[:, :2], (boxes[:, 2:] + boxes[:, :2]) / 2
        true_side = image.boxes[:, 2:] - image.boxes[:, :2]
        true_centre = (image.boxes[:, 2:] + image.boxes[:, :2]) / 2
        usable = (side > 0).all(axis=1)[:, None] & (true_side > 0).all(axis=1)[None]
        usable &= detected.labels[rows][:, None] == image.labels[None]
        scale = np.divide(true_side[None], side[:, None], out=np.ones((*usable.shape, 2)), where=usable[..., None])
        apart = np.abs(centre[:, None] * scale - true_centre[None])
        pairs = usable & (apart < CENTRES_MEET * true_side[None]).all(axis=2)
        scales.append(scale[pairs])
        sizes.append(np.broadcast_to((image.width, image.height), (int(pairs.sum()), 2)).astype(np.float64))
    return np.concatenate(scales), np.concatenate(sizes)


def _mode(values: Float64[np.ndarray, "pairs columns"]) -> Float64[np.ndarray, "columns"]:
    """The most frequent value, by bins of equal ratio; median of the winning bin and its neighbours."""
    bins = np.round(np.log(values) / BIN)
    unique, counts = np.unique(bins, axis=0, return_counts=True)
    near = (np.abs(bins - unique[counts.argmax()]) <= 1).all(axis=1)
    median: Float64[np.ndarray, "columns"] = np.median(values[near], axis=0)
    return median
