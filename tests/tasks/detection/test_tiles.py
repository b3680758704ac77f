"""Tiles cover every pixel, and what several of them show is one object."""

import itertools

import numpy as np
import pytest

from dinotune.tasks.detection.detected_boxes import DetectedBoxes
from dinotune.tasks.detection.tiles import View, merge_tiles, tile_views

PICTURE = (100, 180)
VIEWS = [(0, 0, 100, 100), (80, 0, 180, 100)]
"""Two tiles that share 20 pixels."""


def boxes(*rows: tuple[tuple[float, float, float, float], float, int]) -> DetectedBoxes:
    return DetectedBoxes(
        image_ids=np.zeros(len(rows), np.int64),
        boxes=np.array([box for box, _, _ in rows], np.float64).reshape(-1, 4),
        scores=np.array([score for _, score, _ in rows], np.float64),
        labels=np.array([label for _, _, label in rows], np.int64),
    )


def listed(found: DetectedBoxes) -> list[tuple[list[float], float, int]]:
    return list(zip(found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True))


def merged(
    left: DetectedBoxes, right: DetectedBoxes, whole: DetectedBoxes | None = None
) -> list[tuple[list[float], float, int]]:
    return listed(merge_tiles([left, right], VIEWS, PICTURE, whole or DetectedBoxes.empty()))


@pytest.mark.parametrize("hw", [(1, 1), (63, 64), (64, 65), (200, 64), (333, 127), (128, 129)])
@pytest.mark.parametrize("overlap", [0.0, 0.2, 0.9])
def test_tiles_cover_the_picture_and_lie_inside(hw: tuple[int, int], overlap: float) -> None:
    views = tile_views(hw, 64, overlap)
    seen = np.zeros(hw, np.int64)
    for left, top, right, bottom in views:
        assert (right - left, bottom - top) == (min(64, hw[1]), min(64, hw[0]))
        assert 0 <= left < right <= hw[1]
        assert 0 <= top < bottom <= hw[0]
        seen[top:bottom, left:right] += 1
    assert seen.min() == 1
    assert len(set(views)) == len(views)


@pytest.mark.parametrize("overlap", [0.1, 0.2, 0.5])
def test_neighbours_share_the_overlap(overlap: float) -> None:
    starts = sorted({view[0] for view in tile_views((64, 1000), 64, overlap)})
    assert all(64 - (second - first) >= overlap * 64 for first, second in itertools.pairwise(starts))


@pytest.mark.parametrize("hw", [(10, 640), (640, 640), (640, 1)])
def test_a_picture_no_larger_than_a_tile_is_one(hw: tuple[int, int]) -> None:
    assert tile_views(hw, 640, 0.2) == [(0, 0, hw[1], hw[0])]


def test_boxes_come_in_pixels_of_the_picture() -> None:
    assert merged(boxes(((10, 10, 20, 20), 0.5, 0)), boxes(((30, 10, 50, 20), 0.9, 1))) == [
        ([110, 10, 130, 20], 0.9, 1),
        ([10, 10, 20, 20], 0.5, 0),
    ]


IN_BOTH = ((84, 40, 94, 60), (4, 40, 14, 60))


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        pytest.param(
            boxes((IN_BOTH[0], 0.5, 0)),
            boxes((IN_BOTH[1], 0.9, 0)),
            [([84, 40, 94, 60], 0.9, 0)],
            id="the surer counts",
        ),
        pytest.param(
            boxes((IN_BOTH[0], 0.5, 0)),
            boxes((IN_BOTH[1], 0.9, 1)),
            [([84, 40, 94, 60], 0.9, 1), ([84, 40, 94, 60], 0.5, 0)],
            id="classes are apart",
        ),
        pytest.param(
            boxes((IN_BOTH[0], 0.5, 0), ((83, 40, 94, 60), 0.4, 0)),
            boxes(),
            [([84, 40, 94, 60], 0.5, 0), ([83, 40, 94, 60], 0.4, 0)],
            id="one tile's boxes are different objects",
        ),
        pytest.param(
            boxes(((90, 40, 100, 60), 0.9, 0)),
            boxes(((10, 40, 50, 60), 0.3, 0)),
            [([90, 40, 130, 60], 0.3, 0)],
            id="a piece goes, even a surer one",
        ),
        pytest.param(
            boxes(((70, 40, 99, 60), 0.6, 0)),
            boxes(((0, 41, 30, 60), 0.7, 0)),
            [([70, 40, 110, 60], 0.7, 0)],
            id="pieces are united where no tile shows the object whole",
        ),
        pytest.param(
            boxes(((70, 10, 100, 30), 0.6, 0)),
            boxes(((0, 30, 30, 50), 0.7, 0)),
            [([80, 30, 110, 50], 0.7, 0), ([70, 10, 100, 30], 0.6, 0)],
            id="pieces of two objects stay two",
        ),
        pytest.param(
            boxes(((20, 0, 100, 100), 0.6, 0)),
            boxes(((5, 40, 15, 50), 0.9, 0)),
            [([85, 40, 95, 50], 0.9, 0), ([20, 0, 100, 100], 0.6, 0)],
            id="a small object before a cut large one",
        ),
        pytest.param(
            boxes(((0, 0, 50, 100), 0.6, 0)),
            boxes(),
            [([0, 0, 50, 100], 0.6, 0)],
            id="the picture's own borders cut nothing off",
        ),
    ],
)
def test_two_tiles(left: DetectedBoxes, right: DetectedBoxes, expected: list[tuple[list[float], float, int]]) -> None:
    assert merged(left, right) == expected


def test_the_whole_picture_shows_only_what_no_tile_can() -> None:
    left, right = boxes(((20, 20, 100, 40), 0.9, 0)), boxes(((0, 20, 99, 40), 0.8, 0))
    whole = boxes(((20, 20, 170, 40), 0.5, 0), ((10, 50, 20, 60), 0.9, 0))
    assert merged(left, right, whole) == [([20, 20, 170, 40], 0.5, 0)]


def test_an_object_over_four_tiles_is_one() -> None:
    views: list[View] = tile_views((180, 180), 100, 0.2)
    assert len(views) == 4
    truth = (60, 50, 130, 120)
    found = []
    for left, top, right, bottom in views:
        x1, y1, x2, y2 = (max(truth[0], left), max(truth[1], top), min(truth[2], right), min(truth[3], bottom))
        found.append(boxes(((x1 - left, y1 - top, x2 - left, y2 - top), 0.5, 0)))
    assert listed(merge_tiles(found, views, (180, 180), DetectedBoxes.empty())) == [([60, 50, 130, 120], 0.5, 0)]


def test_nothing_found() -> None:
    assert merged(boxes(), boxes()) == []
