"""Geometry: which part of a picture the network sees, and where its boxes end up.

A view is drawn before the picture is read, so that a JPEG need not be decoded larger than the view asks for.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64, Int64
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as transform

from dinotune import config

LEAST_SIDE = 1.0
"""Boxes with a shorter side, in pixels of the network input, teach nothing and upset the box coders' logarithm."""

MIDDLE = 224 / 256
"""Share of the shorter side that `resize: middle` keeps: pictures resized to 256, then cut to 224."""

GREY = (128, 128, 128)
"""Colour of what a turned view shows beside the picture."""


@dataclass(frozen=True)
class View:
    """A part of a picture, in shares of its height and width, turned about its middle, then mirrored."""

    top: float = 0.0
    left: float = 0.0
    height: float = 1.0
    width: float = 1.0
    rotation: float = 0.0
    """Degrees by which what is seen is turned, counter-clockwise."""
    flip: bool = False
    flip_vertical: bool = False
    min_visible: float = 0.0
    """Boxes of which a smaller share is seen are dropped."""

    def decoded_hw(self, network_hw: tuple[int, int]) -> tuple[int, int]:
        """The least size of the whole picture at which the view need not be enlarged."""
        return math.ceil(network_hw[0] / self.height), math.ceil(network_hw[1] / self.width)

    def window(self, full_hw: tuple[int, int]) -> tuple[int, int, int, int]:
        """Top, left, height and width in whole pixels of a picture of this size, inside it."""
        height, width = (max(round(s * full), 1) for s, full in zip((self.height, self.width), full_hw, strict=True))
        top = min(round(self.top * full_hw[0]), full_hw[0] - height)
        left = min(round(self.left * full_hw[1]), full_hw[1] - width)
        return top, left, height, width


def plain_view(picture_hw: tuple[int, int], data: config.Data) -> View:
    """What is seen of a picture where nothing is drawn: all of it, or with `resize: middle` the square in its middle."""
    if data.resize != "middle":
        return View()
    side = MIDDLE * min(picture_hw)
    height, width = side / picture_hw[0], side / picture_hw[1]
    return View(top=(1 - height) / 2, left=(1 - width) / 2, height=height, width=width)


def draw_view(
    picture_hw: tuple[int, int], network_hw: tuple[int, int], data: config.Data, generator: np.random.Generator
) -> View:
    """A random view for training: a crop in the shape of the network input with probability `crop`, a turn, flips."""
    augmentation = data.augmentation
    # All numbers are drawn at once, so that one setting does not move the draws of another; new ones come last.
    crop, side, top, left, flip, flip_vertical, turn, *window, aspect = generator.random(11)
    cropped, plain = crop < augmentation.crop, plain_view(picture_hw, data)
    shape = _stretched(network_hw, augmentation.crop_aspect, aspect)
    height, width = _crop_hw(picture_hw, shape, augmentation, side, window) if cropped else (plain.height, plain.width)
    rotation = (2 * turn - 1) * augmentation.rotation
    return View(
        top=top * (1 - height) if cropped else plain.top,
        left=left * (1 - width) if cropped else plain.left,
        height=height,
        width=width,
        rotation=rotation,
        flip=bool(flip < augmentation.flip),
        flip_vertical=bool(flip_vertical < augmentation.flip_vertical),
        min_visible=augmentation.min_visible if cropped or rotation else 0.0,
    )


def _stretched(network_hw: tuple[int, int], aspects: tuple[float, float], draw: float) -> tuple[float, float]:
    """The shape of a crop: that of the network input, of the same area and another aspect."""
    low, high = aspects
    root = math.sqrt(low * (high / low) ** draw)
    return network_hw[0] / root, network_hw[1] * root


def _crop_hw(
    picture_hw: tuple[int, int],
    shape_hw: tuple[float, float],
    augmentation: config.Augmentation,
    side: float,
    window: list[float],
) -> tuple[float, float]:
    """Shares of height and width of a crop of the shape `shape_hw`; the last arguments are draws.

    With `crop_resize`, it is the largest of that shape within the window that DETR would cut out of the picture
    (Carion et al. 2020): resized to one of those shorter sides, cut to a random height and width of `crop_size`.
    """
    if augmentation.crop_resize is None:
        outer: tuple[float, float] = picture_hw
        share = augmentation.crop_min_side + (1 - augmentation.crop_min_side) * side
    else:
        outer, share = _detr_window(picture_hw, augmentation.crop_resize, augmentation.crop_size, window), 1.0
    largest = min(outer[0] / shape_hw[0], outer[1] / shape_hw[1])
    return share * largest * shape_hw[0] / picture_hw[0], share * largest * shape_hw[1] / picture_hw[1]


def _detr_window(
    picture_hw: tuple[int, int], shorter_sides: tuple[int, ...], limits: tuple[int, int], draws: list[float]
) -> tuple[float, float]:
    """Height and width of DETR's window in pixels of the picture, from three draws in [0, 1)."""
    which, *sides = draws
    factor = shorter_sides[int(which * len(shorter_sides))] / min(picture_hw)
    window = []
    for full, draw in zip(picture_hw, sides, strict=True):
        resized = round(full * factor)
        low, high = (min(limit, resized) for limit in limits)
        window.append((low + int(draw * (high - low + 1))) * full / resized)
    return window[0], window[1]


def apply_view(
    picture: Image.Image,
    boxes: Float64[np.ndarray, "objects 4"],
    labels: Int64[np.ndarray, "objects"],
    view: View,
    annotated_hw: tuple[int, int],
    network_hw: tuple[int, int],
) -> tuple[Tensor, Tensor, Tensor]:
    """Image uint8 [3, *network_hw], boxes float32 [kept, 4] xyxy in its pixels, labels int64 [kept].

    `boxes` are xyxy in pixels of the picture as annotated; the picture may have been decoded smaller. The view is
    resized exactly, with antialiasing. Boxes are refitted to what is turned (`turned_boxes`) and clipped; those
    hardly visible or too thin are dropped.
    """
    full_hw = (picture.height, picture.width)
    shrunk = np.array([full_hw[1] / annotated_hw[1], full_hw[0] / annotated_hw[0]] * 2)
    seen = _clamped(tv_tensors.BoundingBoxes(torch.from_numpy(boxes * shrunk), format="XYXY", canvas_size=full_hw))
    window = view.window(full_hw)
    if view.rotation:
        seen = tv_tensors.wrap(turned_boxes(seen.as_subclass(Tensor), _middle(window), view.rotation), like=seen)
    before = _areas(seen)
    image = tv_tensors.Image(torch.from_numpy(np.array(_cut_out(picture, window, view.rotation))).permute(2, 0, 1))
    seen = _clamped(transform.crop(seen, *window))
    visible = _areas(seen) >= view.min_visible * before
    image, seen = transform.resize(image, list(network_hw), antialias=True), transform.resize(seen, list(network_hw))
    if view.flip:
        image, seen = transform.horizontal_flip(image), transform.horizontal_flip(seen)
    if view.flip_vertical:
        image, seen = transform.vertical_flip(image), transform.vertical_flip(seen)
    # Resizing and mirroring round; the last clipping makes the edges exact.
    seen = _clamped(seen)
    kept = visible & ((seen[:, 2:] - seen[:, :2]) >= LEAST_SIDE).all(1)
    return image.as_subclass(Tensor), seen.as_subclass(Tensor)[kept].float(), torch.from_numpy(labels)[kept]


def turned_boxes(
    boxes: Float64[Tensor, "objects 4"], middle: tuple[float, float], degrees: float
) -> Float64[Tensor, "objects 4"]:
    """Xyxy boxes around what they hold, turned counter-clockwise about `middle` (x, y); they may leave the picture.

    Each becomes the box of its turned inscribed ellipse, whose half width is sqrt((w/2 cos)^2 + (h/2 sin)^2): boxes
    of turned corners would grow with every object that does not fill them (Kalra et al. 2021, "Towards Rotation
    Invariance in Object Detection").
    """
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turn = boxes.new_tensor([[cosine, sine], [-sine, cosine]])  # y points down
    origin = boxes.new_tensor(middle)
    centre = ((boxes[:, :2] + boxes[:, 2:]) / 2 - origin) @ turn.T + origin
    half = ((boxes[:, 2:] - boxes[:, :2]) / 2).square() @ turn.square().T
    return torch.cat([centre - half.sqrt(), centre + half.sqrt()], 1)


def _cut_out(picture: Image.Image, window: tuple[int, int, int, int], degrees: float) -> Image.Image:
    """What lies in the window, turned about its middle; what lies around it in the picture fills the corners."""
    top, left, height, width = window
    if not degrees:
        return picture.crop((left, top, left + width, top + height))
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = _middle(window)
    # From the cut-out back to the picture.
    rows = (
        cosine,
        -sine,
        x - (cosine * width - sine * height) / 2,
        sine,
        cosine,
        y - (sine * width + cosine * height) / 2,
    )
    return picture.transform(
        (width, height), Image.Transform.AFFINE, rows, resample=Image.Resampling.BILINEAR, fillcolor=GREY
    )


def _middle(window: tuple[int, int, int, int]) -> tuple[float, float]:
    """X and y of a window's middle."""
    top, left, height, width = window
    return left + width / 2, top + height / 2


def _clamped(boxes: tv_tensors.BoundingBoxes) -> tv_tensors.BoundingBoxes:
    return transform.clamp_bounding_boxes(boxes)


def _areas(boxes: Tensor) -> Tensor:
    plain = boxes.as_subclass(Tensor)
    return (plain[:, 2:] - plain[:, :2]).prod(1)
