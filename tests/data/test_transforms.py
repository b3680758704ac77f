"""Views: a painted rectangle and its box must end up in the same place."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from dinotune import config
from dinotune.data.transforms import View, apply_view, draw_view

COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
BOXES = np.array([[30, 40, 130, 100], [200, 20, 260, 200], [60, 150, 180, 230]], np.float64)
HW = (240, 320)


def painted(factor: int = 1) -> Image.Image:
    """Three rectangles on black, drawn `factor` times smaller."""
    canvas = np.zeros((HW[0] // factor, HW[1] // factor, 3), np.uint8)
    for (x1, y1, x2, y2), colour in zip((BOXES / factor).astype(int), COLOURS, strict=True):
        canvas[y1:y2, x1:x2] = colour
    return Image.fromarray(canvas)


def extent(image: Tensor, label: int) -> list[float]:
    """Xyxy edges of the area that is mostly of one colour."""
    ys, xs = torch.nonzero(image[label] > 127, as_tuple=True)
    return [float(xs.min()), float(ys.min()), float(xs.max()) + 1, float(ys.max()) + 1]


def apply(view: View, network_hw: tuple[int, int], picture: Image.Image | None = None) -> tuple[Tensor, Tensor, Tensor]:
    return apply_view(picture or painted(), BOXES, np.arange(3), view, HW, network_hw)


NETWORK = [(240, 320), (96, 128), (112, 112), (480, 608)]


@pytest.mark.parametrize("network_hw", NETWORK)
@pytest.mark.parametrize("factor", [1, 2])
@pytest.mark.parametrize("flip", [False, True])
def test_boxes_follow_the_whole_picture(network_hw: tuple[int, int], factor: int, flip: bool) -> None:
    image, boxes, labels = apply(View(flip=flip), network_hw, painted(factor))
    assert image.shape == (3, *network_hw)
    assert image.dtype == torch.uint8
    assert boxes.dtype == torch.float32
    assert type(image) is type(boxes) is Tensor
    assert labels.tolist() == [0, 1, 2]
    for box, label in zip(boxes, labels, strict=True):
        assert box.tolist() == pytest.approx(extent(image, int(label)), abs=1.5)


@pytest.mark.parametrize("network_hw", NETWORK)
@pytest.mark.parametrize("resize", ["crop", "whole"])
def test_boxes_follow_random_views(network_hw: tuple[int, int], resize: str) -> None:
    augmentation = config.Augmentation(crop=1.0 if resize == "crop" else 0.0, flip=0.5, min_visible=0.1)
    seen = flips = 0
    for seed in range(25):
        view = draw_view(HW, network_hw, augmentation, np.random.default_rng(seed))
        flips += view.flip
        image, boxes, labels = apply(view, network_hw)
        for box, label in zip(boxes, labels, strict=True):
            seen += 1
            assert box.tolist() == pytest.approx(extent(image, int(label)), abs=1.5)
            assert (box >= 0).all()
            assert (box <= torch.tensor([*network_hw[::-1]] * 2)).all()
    assert seen > 20
    assert 5 < flips < 20


@pytest.mark.parametrize("network_hw", NETWORK)
def test_crops_have_the_batchs_shape_and_least_side(network_hw: tuple[int, int]) -> None:
    augmentation = config.Augmentation(crop=1.0, crop_min_side=0.5)
    shares = []
    for seed in range(50):
        view = draw_view(HW, network_hw, augmentation, np.random.default_rng(seed))
        height, width = view.height * HW[0], view.width * HW[1]
        assert width / height == pytest.approx(network_hw[1] / network_hw[0])
        assert view.top >= 0
        assert view.left >= 0
        assert view.top + view.height <= 1 + 1e-9
        assert view.left + view.width <= 1 + 1e-9
        shares.append(max(view.height, view.width))
    assert 0.5 <= min(shares) < 0.6
    assert 0.9 < max(shares) <= 1 + 1e-9


def test_a_crop_asks_for_a_larger_picture_than_the_whole() -> None:
    assert View().decoded_hw((96, 128)) == (96, 128)
    assert View(height=0.5, width=0.4).decoded_hw((96, 128)) == (192, 320)


@pytest.mark.parametrize(("min_visible", "kept"), [(0.0, [0, 1, 2]), (0.3, [0, 2]), (0.9, [0]), (1.0, [0])])
def test_hardly_visible_boxes_are_dropped(min_visible: float, kept: list[int]) -> None:
    """The left 210 columns show all of box 0, 1/6 of box 1 and all of box 2 but its lower 30 of 80 rows."""
    view = View(height=200 / 240, width=210 / 320, min_visible=min_visible)
    _, boxes, labels = apply(view, (200, 210))
    assert labels.tolist() == kept
    assert boxes[0].tolist() == [30, 40, 130, 100]
    if 2 in kept:
        assert boxes[-1].tolist() == [60, 150, 180, 200]


def test_a_view_without_objects_is_normal() -> None:
    image, boxes, labels = apply(View(top=0.0, left=0.9, height=0.1, width=0.1), (32, 32))
    assert (image.shape, boxes.shape, labels.shape) == ((3, 32, 32), (0, 4), (0,))
    nothing = apply_view(painted(), np.empty((0, 4)), np.empty(0, np.int64), View(flip=True), HW, (32, 32))
    assert nothing[1].shape == (0, 4)


def test_specks_are_dropped() -> None:
    boxes = np.array([[10, 10, 13, 60], [10, 10, 20, 20]], np.float64)
    _, kept, labels = apply_view(painted(), boxes, np.arange(2), View(), HW, (60, 80))
    assert labels.tolist() == [1]
    assert kept.tolist() == [[2.5, 2.5, 5, 5]]


def test_settings_do_not_move_each_others_draws() -> None:
    with_crop = draw_view(HW, (64, 64), config.Augmentation(crop=1.0), np.random.default_rng(3))
    without = draw_view(HW, (64, 64), config.Augmentation(crop=0.0), np.random.default_rng(3))
    assert with_crop.flip == without.flip
    off = config.Augmentation.model_validate("none")
    assert draw_view(HW, (64, 64), off, np.random.default_rng(3)) == View()
