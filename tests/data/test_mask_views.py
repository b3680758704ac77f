"""Masks go the way of their picture: the same part, turn and flips, and nothing is mixed."""

from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from dinotune.config.tasks import IGNORED
from dinotune.data.mask_views import seen_masks, varied_view
from dinotune.data.transforms import View, apply_view

HW = (90, 120)


def blocks(hw: tuple[int, int] = HW, side: int = 30, classes: int = 5) -> np.ndarray:
    """Squares of classes, next to each other all different."""
    rows, columns = np.indices(hw) // side
    return ((rows * 2 + columns) % classes).astype(np.int16)


VIEWS = {
    "whole": View(),
    "flip": View(flip=True),
    "upside_down": View(flip_vertical=True),
    "crop": View(top=0.1, left=0.3, height=0.5, width=0.6),
    "crop_both_flips": View(top=0.2, left=0.1, height=0.7, width=0.4, flip=True, flip_vertical=True),
    "turn": View(rotation=20.0),
    "turned_crop_flip": View(top=0.2, left=0.25, height=0.5, width=0.5, rotation=-33.0, flip=True),
}


@pytest.mark.parametrize("network_hw", [(60, 80), (96, 64), (180, 240)])
@pytest.mark.parametrize("name", VIEWS)
def test_a_mask_lies_where_its_picture_lies(name: str, network_hw: tuple[int, int]) -> None:
    classes = blocks()
    view = VIEWS[name]
    picture = Image.fromarray((classes * 50).astype(np.uint8)).convert("RGB")
    image, _, _ = apply_view(picture, np.empty((0, 4)), np.empty(0, np.int64), view, HW, network_hw)
    shown = image[0].float() / 50
    seen = seen_masks(classes[None], view, network_hw, outside=IGNORED)[0]
    assert seen.shape == network_hw
    assert seen.dtype == torch.int16
    # Away from edges between classes, where resizing mixes colours, the picture's colour tells the class.
    inside = (shown - shown.round()).abs() < 0.02
    if view.rotation:
        inside &= seen != IGNORED
    agree = (seen[inside] == shown.round()[inside]).float().mean()
    assert inside.float().mean() > 0.4
    assert agree > 0.985


def test_what_is_beside_a_turned_picture_is_outside() -> None:
    seen = seen_masks(np.zeros((1, *HW), np.int16), View(rotation=45.0), (64, 64), outside=IGNORED)[0]
    assert seen[0, 0] == IGNORED
    assert seen[32, 32] == 0
    assert set(seen.unique().tolist()) == {IGNORED, 0}


def test_enlarged_by_a_whole_factor_every_pixel_becomes_a_square() -> None:
    mask = np.arange(6, dtype=np.int16).reshape(1, 2, 3)
    seen = seen_masks(mask, View(), (4, 6), outside=0)[0].numpy()
    assert np.array_equal(seen, mask[0].repeat(2, 0).repeat(2, 1))


def test_shrunk_by_an_odd_factor_the_middle_pixel_stands_for_all() -> None:
    mask = np.arange(36, dtype=np.int16).reshape(1, 6, 6)
    assert seen_masks(mask, View(), (2, 2), outside=0)[0].tolist() == [[7, 10], [25, 28]]


def half() -> np.ndarray:
    """Class 0 with a column of class 1 at the right."""
    classes = np.zeros(HW, np.int16)
    classes[:, 100:] = 1
    return classes


def test_crops_move_until_no_class_fills_more_than_its_share() -> None:
    view = View(top=0.0, left=0.0, height=0.5, width=0.3)
    generator = np.random.default_rng(0)
    found = [varied_view(view, half(), 0.75, generator) for _ in range(200)]
    shares = [half()[t : t + h, x : x + w].mean() for t, x, h, w in (view.window(HW) for view in found)]
    good = [0.25 <= share <= 0.75 for share in shares]
    assert np.mean(good) > 0.7, "about one place in six is good, ten are tried"
    assert {(view.height, view.width) for view in found} == {(0.5, 0.3)}
    assert all(0 <= view.left <= 0.7 and 0 <= view.top <= 0.5 for view in found)


@pytest.mark.parametrize(
    ("view", "classes", "most"),
    [
        (View(), half(), 0.1),  # the whole picture cannot move
        (View(top=0.3, left=0.2, height=0.5, width=0.3), half(), 1.0),  # anything goes
        (View(top=0.3, left=0.6, height=0.5, width=0.4), half(), 0.75),  # fine where it is
    ],
)
def test_views_that_may_stay(view: View, classes: np.ndarray, most: float) -> None:
    assert varied_view(view, classes, most, np.random.default_rng(0)) == view


def test_ignored_pixels_count_for_no_class() -> None:
    classes = np.full(HW, IGNORED, np.int16)
    classes[:45, :60], classes[45:, :60] = 0, 1
    view = View(left=0.0, top=0.0, height=1.0, width=0.5)
    assert varied_view(view, classes, 0.75, np.random.default_rng(0)) == view
    moved = Counter(
        varied_view(replaced, classes, 0.75, np.random.default_rng(seed)).left > 0.5
        for seed, replaced in enumerate([View(left=0.5, height=1.0, width=0.4)] * 50)
    )
    assert moved[False] > 45, "a crop of ignored pixels alone is moved"
