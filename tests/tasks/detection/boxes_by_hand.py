"""Small data sets and detections that the tests of this folder share."""

from pathlib import Path

import numpy as np

from dinotune.data.records import ImageRecord, LabelSet, Records
from dinotune.tasks.detection.detected_boxes import DetectedBoxes

LABELS = LabelSet(names=("cat", "dog", "kite"), ids=(17, 18, 4))
"""Sparse ids that are not in ascending order, as a data set may have them."""


def image(image_id: int, boxes: list[list[float]], labels: list[int], crowd: list[bool] | None = None) -> ImageRecord:
    """A picture of 480x640 with these xyxy boxes."""
    corners = np.array(boxes, np.float64).reshape(-1, 4)
    return ImageRecord(
        path=Path(f"{image_id}.jpg"),
        image_id=image_id,
        height=480,
        width=640,
        boxes=corners,
        labels=np.array(labels, np.int64),
        crowd=np.array(crowd or [False] * len(labels), np.bool_),
        areas=(corners[:, 2:] - corners[:, :2]).prod(axis=1),
    )


def records_by_hand() -> Records:
    """Four pictures: objects of every size class, one picture without objects, one crowd region."""
    return Records.from_images(
        "by hand",
        LABELS,
        [
            image(139, [[300.5, 200.25, 320.5, 225.0], [350, 250, 420, 330]], [0, 1]),
            image(42, [], []),
            image(785, [[200, 150, 500, 400], [510, 300, 540, 326.5], [20, 20, 90, 110]], [2, 0, 1]),
            image(7, [[400, 300, 600, 450], [250, 100, 330, 160], [0, 0, 200, 90]], [0, 2, 1], [False, False, True]),
        ],
    )


def random_records(rng: np.random.Generator, images: int = 30, most: int = 9, crowd_share: float = 0.08) -> Records:
    """Pictures with 0 to `most` objects of all sizes, some of them crowd regions."""

    def draw(image_id: int) -> ImageRecord:
        count = int(rng.integers(0, most + 1)) if image_id % 5 else 0
        corner = rng.uniform((0, 0), (500, 380), (count, 2))
        size = np.exp(rng.uniform(np.log(8), np.log(180), (count, 2)))
        boxes = np.concatenate([corner, np.minimum(corner + size, (640, 480))], axis=1)
        crowd = (rng.random(count) < crowd_share).tolist()
        return image(image_id, boxes.tolist(), rng.integers(0, 3, count).tolist(), crowd)

    return Records.from_images("random", LABELS, [draw(1000 - 7 * i) for i in range(images)])


def random_detections(rng: np.random.Generator, records: Records, false: int = 60) -> DetectedBoxes:
    """Two shaken copies of each object, a tenth of them with a wrong class, and false boxes; scores with ties."""
    image_ids = np.repeat(records.image_ids, np.diff(records.offsets))
    shaken = np.concatenate([records.boxes, records.boxes]) + rng.normal(0, 4, (2 * len(records.boxes), 4))
    corner = rng.uniform(0, 400, (false, 2))
    boxes = np.concatenate([shaken, np.concatenate([corner, corner + rng.uniform(5, 150, (false, 2))], axis=1)])
    labels = np.concatenate([records.box_labels, records.box_labels, rng.integers(0, 3, false)])
    wrong = rng.random(len(labels)) < 0.1
    return DetectedBoxes(
        image_ids=np.concatenate([image_ids, image_ids, rng.choice(records.image_ids, false)]),
        boxes=boxes,
        scores=rng.random(len(boxes)).round(2),
        labels=np.where(wrong, (labels + 1) % 3, labels),
    )


def oracle(records: Records) -> DetectedBoxes:
    """The truth as detections, crowd regions left out."""
    image_ids = np.repeat(records.image_ids, np.diff(records.offsets))
    real = ~records.crowd
    return DetectedBoxes(
        image_ids[real], records.boxes[real], np.linspace(0.9, 0.5, int(real.sum())), records.box_labels[real]
    )
