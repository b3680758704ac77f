"""Records: columns, selection, label sets."""

from pathlib import Path

import numpy as np
import pytest

from dinotune.data.records import ImageRecord, LabelSet, Records
from dinotune.errors import DataError

LABELS = LabelSet(("dog", "mug"), (18, 90))


def records() -> Records:
    """Three pictures with 2, 0 and 1 boxes."""
    images = [
        ImageRecord(
            path=Path(f"{number}.jpg"),
            image_id=10 * number,
            height=4 + number,
            width=6,
            boxes=np.arange(4.0 * count).reshape(-1, 4) + number,
            labels=np.arange(count) % 2,
            crowd=np.zeros(count, np.bool_),
            areas=np.full(count, float(number)),
        )
        for number, count in enumerate((2, 0, 1))
    ]
    return Records.from_images("three", LABELS, images, ("a note",))


def test_images_come_back() -> None:
    first, empty, last = (records()[i] for i in range(3))
    assert first.boxes.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert first.labels.tolist() == [0, 1]
    assert (empty.boxes.shape, empty.labels.shape, empty.areas.shape) == ((0, 4), (0,), (0,))
    assert (last.path, last.image_id, last.height, last.width) == (Path("2.jpg"), 20, 6, 6)
    assert last.boxes.tolist() == [[2, 3, 4, 5]]
    with pytest.raises(IndexError):
        records()[3]
    with pytest.raises(IndexError):
        records()[-1]


def test_shown_classes_come_once_per_picture() -> None:
    boxes = np.tile([0.0, 0, 2, 2], (4, 1))
    crowd = np.array([False, False, True, False])
    image = ImageRecord(Path("a"), 1, 9, 9, boxes, np.array([1, 1, 0, 1]), crowd, np.full(4, 4.0))
    both = Records.from_images("two", LABELS, [records()[1], image])
    assert [column.tolist() for column in both.shown_classes()] == [[1, 1], [0, 1]]
    assert [column.tolist() for column in both.shown_classes(crowd=False)] == [[1], [1]]


@pytest.mark.parametrize("chosen", [[2, 0], [1], [0, 1, 2], []])
def test_select_keeps_order_and_boxes(chosen: list[int]) -> None:
    some = records().select(np.array(chosen, np.int64))
    assert len(some) == len(chosen)
    assert some.notes == ("a note",)
    for position, index in enumerate(chosen):
        found, expected = some[position], records()[index]
        assert (found.path, found.image_id, found.height) == (expected.path, expected.image_id, expected.height)
        for column in ("boxes", "labels", "crowd", "areas"):
            np.testing.assert_array_equal(getattr(found, column), getattr(expected, column))


def test_an_empty_split_is_refused() -> None:
    with pytest.raises(DataError, match="bccd val: no pictures"):
        Records.from_images("bccd val", LABELS, [])
