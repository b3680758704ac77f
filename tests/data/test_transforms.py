"""Views: a painted rectangle and its box must end up in the same place."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from dinotune import config
from dinotune.data.transforms import GREY, View, apply_view, draw_view, plain_view, turned_boxes

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
@pytest.mark.parametrize(
    "view", [View(), View(flip=True), View(flip_vertical=True), View(flip=True, flip_vertical=True)]
)
def test_boxes_follow_the_whole_picture(network_hw: tuple[int, int], factor: int, view: View) -> None:
    image, boxes, labels = apply(view, network_hw, painted(factor))
    assert image.shape == (3, *network_hw)
    assert image.dtype == torch.uint8
    assert boxes.dtype == torch.float32
    assert type(image) is type(boxes) is Tensor
    assert labels.tolist() == [0, 1, 2]
    for box, label in zip(boxes, labels, strict=True):
        assert box.tolist() == pytest.approx(extent(image, int(label)), abs=1.5)


@pytest.mark.parametrize("network_hw", NETWORK)
@pytest.mark.parametrize(
    "crops", [{"crop": 0.0}, {"crop": 1.0}, {"crop": 1.0, "crop_resize": (80, 100), "crop_size": (70, 120)}]
)
def test_boxes_follow_random_views(network_hw: tuple[int, int], crops: dict[str, Any]) -> None:
    augmentation = config.Augmentation(flip=0.5, flip_vertical=0.5, min_visible=0.1, **crops)
    seen = flips = vertical_flips = 0
    for seed in range(25):
        view = draw_view(HW, network_hw, config.Data(augmentation=augmentation), np.random.default_rng(seed))
        flips += view.flip
        vertical_flips += view.flip_vertical
        image, boxes, labels = apply(view, network_hw)
        for box, label in zip(boxes, labels, strict=True):
            seen += 1
            assert box.tolist() == pytest.approx(extent(image, int(label)), abs=1.5)
            assert (box >= 0).all()
            assert (box <= torch.tensor([*network_hw[::-1]] * 2)).all()
    assert seen > 20
    assert 5 < flips < 20
    assert 5 < vertical_flips < 20


def painted_ellipses() -> Image.Image:
    """Ellipses in the boxes, one per colour; three times larger, then shrunk, so that their edges are exact."""
    channels = []
    for box in BOXES:
        sheet = Image.new("L", (HW[1] * 3, HW[0] * 3))
        ImageDraw.Draw(sheet).ellipse([*(box[:2] * 3), *(box[2:] * 3 - 1)], fill=255)
        channels.append(sheet.resize(HW[::-1], Image.Resampling.BOX))
    return Image.merge("RGB", channels)


@pytest.mark.parametrize("network_hw", NETWORK)
@pytest.mark.parametrize("crop", [0.0, 1.0])
def test_boxes_follow_what_is_turned(network_hw: tuple[int, int], crop: float) -> None:
    """Grey fills the corners of every channel; a colour is where one channel is bright and the others dark."""
    augmentation = config.Augmentation(rotation=60, crop=crop, flip=0.5, flip_vertical=0.5, min_visible=1)
    angles, seen = [], 0
    for seed in range(25):
        view = draw_view(HW, network_hw, config.Data(augmentation=augmentation), np.random.default_rng(seed))
        angles.append(view.rotation)
        image, boxes, labels = apply(view, network_hw, painted_ellipses())
        for box, label in zip(boxes, labels, strict=True):
            others = image[[other for other in range(3) if other != label]].amax(0)
            alone = torch.where(others < 100, image, 0)
            seen += 1
            assert box.tolist() == pytest.approx(extent(alone, int(label)), abs=1.5 * max(1, 1 / view.height))
    assert seen > 15
    assert -60 <= min(angles) < -30
    assert 30 < max(angles) <= 60


@pytest.mark.parametrize("degrees", [-170.0, -90.0, -37.0, 0.0, 20.0, 45.0, 90.0])
def test_turned_boxes_fit_turned_ellipses(degrees: float) -> None:
    """Against every point of the ellipses' rims, turned one by one."""
    middle = (70.0, 50.0)
    boxes = turned_boxes(torch.from_numpy(BOXES), middle, degrees)
    angle = math.radians(degrees)
    for box, (x1, y1, x2, y2) in zip(boxes, BOXES, strict=True):
        turns = np.linspace(0, 2 * np.pi, 2000)
        x = (x1 + x2) / 2 + (x2 - x1) / 2 * np.cos(turns) - middle[0]
        y = (y1 + y2) / 2 + (y2 - y1) / 2 * np.sin(turns) - middle[1]
        # Counter-clockwise as one sees it, with y pointing down.
        xs = middle[0] + x * np.cos(angle) + y * np.sin(angle)
        ys = middle[1] - x * np.sin(angle) + y * np.cos(angle)
        assert box.tolist() == pytest.approx([xs.min(), ys.min(), xs.max(), ys.max()], abs=1e-3)


def test_a_turn_is_counter_clockwise_and_leaves_grey_corners() -> None:
    image, boxes, labels = apply(View(rotation=90), HW)
    assert labels.tolist() == [0, 1, 2]
    for box, label in zip(boxes, labels, strict=True):
        assert box.tolist() == pytest.approx(extent(image[:, :, 41:279], int(label)) + np.array([41, 0, 41, 0]), abs=1)
    assert boxes[0].tolist() == pytest.approx([80, 150, 140, 240]), "the upper left lies below, a tenth is cut off"
    assert image[:, :, :39].flatten(1).unique(dim=1).tolist() == [[grey] for grey in GREY]
    assert image[:, 0, 160].tolist() == [0, 0, 0]


def test_a_turned_crop_shows_what_lies_around_it() -> None:
    white = Image.new("RGB", HW[::-1], (255, 255, 255))
    image, _, _ = apply(View(top=0.3, left=0.3, height=0.4, width=0.4, rotation=45), (64, 64), white)
    assert image.min() == 255


def test_boxes_turned_out_of_the_picture_are_dropped() -> None:
    assert apply(View(rotation=90, min_visible=0.95), HW)[2].tolist() == [1, 2]
    assert apply(View(rotation=90, min_visible=0.85), HW)[2].tolist() == [0, 1, 2]


@pytest.mark.parametrize("picture_hw", [(480, 640), (1200, 900), (200, 200)])
@pytest.mark.parametrize("network_hw", [(640, 864), (800, 800)])
def test_crops_of_detr_lie_within_its_windows(picture_hw: tuple[int, int], network_hw: tuple[int, int]) -> None:
    """The shape is the batch's; one side is DETR's, the other at most that: 384 to 600 after the resize."""
    augmentation = config.Augmentation.model_validate("detr")
    outer = []
    for seed in range(300):
        view = draw_view(picture_hw, network_hw, config.Data(augmentation=augmentation), np.random.default_rng(seed))
        if (view.height, view.width) == (1.0, 1.0):
            continue
        height, width = view.height * picture_hw[0], view.width * picture_hw[1]
        assert width / height == pytest.approx(network_hw[1] / network_hw[0])
        assert -1e-9 <= view.top <= 1 - view.height + 1e-9
        assert -1e-9 <= view.left <= 1 - view.width + 1e-9
        outer.append(max(height, width) / min(picture_hw))
    assert 120 < len(outer) < 180
    assert min(outer) >= 384 / 600 - 1e-2
    assert max(outer) <= 600 / 400 + 1e-2
    assert max(outer) - min(outer) > 0.25


def test_windows_of_detr_are_uniform() -> None:
    """In a square batch the shorter side of the window remains, in pixels of the resized picture."""
    augmentation = config.Augmentation(crop=1, crop_resize=(500,), crop_size=(384, 450))
    sides = []
    for seed in range(2000):
        view = draw_view((1000, 1000), (512, 512), config.Data(augmentation=augmentation), np.random.default_rng(seed))
        assert view.height == view.width
        sides.append(round(view.height * 500))
    drawn = np.random.default_rng(0).integers(384, 451, (100_000, 2)).min(1)
    assert min(sides) == 384
    assert 447 <= max(sides) <= 450
    assert np.mean(sides) == pytest.approx(drawn.mean(), abs=1.5)
    assert np.std(sides) == pytest.approx(drawn.std(), abs=1)


def test_windows_larger_than_the_picture_are_the_picture() -> None:
    augmentation = config.Augmentation(crop=1, crop_resize=(100,), crop_size=(384, 600))
    view = draw_view((300, 300), (64, 64), config.Data(augmentation=augmentation), np.random.default_rng(0))
    assert (view.top, view.left, view.height, view.width) == (0, 0, 1, 1)


@pytest.mark.parametrize("network_hw", NETWORK)
def test_crops_have_the_batchs_shape_and_least_side(network_hw: tuple[int, int]) -> None:
    augmentation = config.Augmentation(crop=1.0, crop_min_side=0.5)
    shares = []
    for seed in range(50):
        view = draw_view(HW, network_hw, config.Data(augmentation=augmentation), np.random.default_rng(seed))
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
    augmentation = config.Augmentation(crop=1, crop_resize=(100,), crop_size=(40, 50))
    view = draw_view((1000, 1000), (256, 256), config.Data(augmentation=augmentation), np.random.default_rng(0))
    assert min(view.decoded_hw((256, 256))) >= 256 / 0.5, "a small window of a large picture is read at full detail"


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
    with_crop = draw_view(
        HW, (64, 64), config.Data(augmentation=config.Augmentation(crop=1.0)), np.random.default_rng(3)
    )
    without = draw_view(HW, (64, 64), config.Data(augmentation=config.Augmentation(crop=0.0)), np.random.default_rng(3))
    assert with_crop.flip == without.flip
    many = config.Augmentation(crop=1.0, rotation=20, flip_vertical=0.5)
    turned = draw_view(HW, (64, 64), config.Data(augmentation=many), np.random.default_rng(3))
    assert replace(turned, rotation=0.0, flip_vertical=False) == with_crop
    off = config.Augmentation.model_validate("none")
    assert draw_view(HW, (64, 64), config.Data(augmentation=off), np.random.default_rng(3)) == View()


@pytest.mark.parametrize("picture_hw", [(400, 600), (600, 400), (500, 500)])
def test_the_middle_is_what_resizing_to_256_and_cutting_224_leaves(picture_hw: tuple[int, int]) -> None:
    """As torchvision's `Resize(256)` and `CenterCrop(224)`, within a pixel of the picture."""
    view = plain_view(picture_hw, config.Data(resize="middle", size=224))
    top, left, height, width = view.window(picture_hw)
    scale = 256 / min(picture_hw)
    resized = [side * scale for side in picture_hw]
    expected = [(side - 224) / 2 / scale for side in resized]
    assert (top, left) == pytest.approx(expected, abs=1)
    assert (height, width) == pytest.approx((224 / scale, 224 / scale), abs=1)
    assert plain_view(picture_hw, config.Data(resize="square")) == View()


def test_views_that_are_not_cropped_show_the_middle() -> None:
    off = config.Augmentation(crop=0, flip=0)
    view = draw_view((400, 600), (224, 224), config.Data(resize="middle", augmentation=off), np.random.default_rng(0))
    assert view == plain_view((400, 600), config.Data(resize="middle"))


@pytest.mark.parametrize("aspects", [(0.75, 4 / 3), (1.5, 1.5)])
def test_crops_have_the_aspects_asked_for_and_stay_inside(aspects: tuple[float, float]) -> None:
    data = config.Data(augmentation=config.Augmentation(crop=1, crop_min_side=0.3, crop_aspect=aspects))
    views = [draw_view((400, 600), (224, 224), data, np.random.default_rng(seed)) for seed in range(300)]
    found = [view.width * 600 / (view.height * 400) for view in views]
    assert min(found) == pytest.approx(aspects[0], rel=0.02)
    assert max(found) == pytest.approx(aspects[1], rel=0.02)
    assert np.median(found) == pytest.approx(np.sqrt(np.prod(aspects)), rel=0.05)
    assert all(view.top >= 0 and view.top + view.height <= 1 + 1e-9 for view in views)
    assert all(view.left >= 0 and view.left + view.width <= 1 + 1e-9 for view in views)


def test_a_detector_must_not_lose_what_lies_beside_the_middle() -> None:
    with pytest.raises(
        ValueError, match="middle leaves objects out, and faster_rcnn needs them; use keep_aspect or square"
    ):
        config.Experiment(data=config.Data(resize="middle"))
    config.Experiment(data=config.Data(resize="middle"), head=config.LinearClassifier())
