"""Repeat factors by hand, and how an epoch rounds them."""

from pathlib import Path

import numpy as np
import pytest

from dinotune.data.records import ImageRecord, LabelSet, Records
from dinotune.data.repeats import draw_repeats, number_of_repeats, repeat_factors


def records(*shown: list[int], crowd: tuple[int, ...] = ()) -> Records:
    """A picture for each list of labels; boxes numbered in `crowd` are crowd regions."""
    images = []
    boxes = 0
    for number, labels in enumerate(shown):
        crowds = np.array([boxes + i in crowd for i in range(len(labels))], np.bool_)
        boxes += len(labels)
        corners = np.tile([0.0, 0, 5, 5], (len(labels), 1))
        areas = np.full(len(labels), 25.0)
        images.append(ImageRecord(Path("x"), number, 9, 9, corners, np.array(labels, np.int64), crowds, areas))
    return Records.from_images("small", LabelSet(("a", "b", "c"), (1, 2, 3)), images)


def test_factors_by_hand() -> None:
    """Class 0 is in 4 of 8 pictures, class 1 in 1; the threshold is one half: factors 1 and 2."""
    some = records([0, 0], [0], [0, 1], [0], [], [], [], [])
    assert repeat_factors(some, 0.5).tolist() == [1, 1, 2, 1, 1, 1, 1, 1]
    assert repeat_factors(some, 1.0) == pytest.approx([2**0.5, 2**0.5, 8**0.5, 2**0.5, 1, 1, 1, 1])
    assert repeat_factors(some, 0.0).tolist() == [1] * 8


def test_crowds_are_no_targets() -> None:
    assert repeat_factors(records([0], [1], [1], [1], crowd=(0,)), 1.0) == pytest.approx([1, *[(4 / 3) ** 0.5] * 3])


def test_pictures_without_boxes_are_not_repeated() -> None:
    assert repeat_factors(records([], []), 1.0).tolist() == [1, 1]


@pytest.mark.parametrize(
    "more", [[0.0, 0, 0], [0.3, 0.3], [0.2, 1.7, 0.6, 0, 2.5], [0.1] * 33, [4.0], [0.4], [1e-9, 3.0]]
)
def test_repeats_are_rounded_down_or_up_to_a_fixed_sum(more: list[float]) -> None:
    shares = np.array(more)
    total = number_of_repeats(shares)
    assert abs(total - sum(more)) <= 0.5
    drawn = np.stack([draw_repeats(shares, np.random.default_rng(seed)) for seed in range(400)])
    assert (drawn.sum(1) == total).all()
    exact = shares * total / max(sum(more), 1e-9)
    assert (np.abs(drawn - exact) < 1).all()
    assert drawn.mean(0) == pytest.approx(exact, abs=0.1)
