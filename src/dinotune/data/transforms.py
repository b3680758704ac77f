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


@dataclass(frozen=True)
class View:
    """A part of a picture, in shares of its height and width, and whether it is mirrored."""

    top: float = 0.0
    left: float = 0.0
    height: float = 1.0
    width: float = 1.0
    flip: bool = False
    min_visible: float = 0.0
    """Boxes of which a smaller share is seen are dropped."""

    def decoded_hw(self, network_hw: tuple[int, int]) -> tuple[int, int]:
        """The least size of the whole picture at which the view need not be enlarged."""
        return math.ceil(network_hw[0] / self.height), math.ceil(network_hw[1] / self.width)


def draw_view(
    picture_hw: tuple[int, int],
    network_hw: tuple[int, int],
    augmentation: config.Augmentation,
    generator: np.random.Generator,
) -> View:
    """A random view for training: a crop in the shape of the network input with probability `crop`, a flip with `flip`."""
    # All numbers are drawn at once, so that one setting does not move the draws of another.
    crop, side, top, left, flip = generator.random(5)
    flipped = bool(flip < augmentation.flip)
    if crop >= augmentation.crop:
        return View(flip=flipped)
    height, width = picture_hw
    largest = min(height / network_hw[0], width / network_hw[1])
    share = augmentation.crop_min_side + (1 - augmentation.crop_min_side) * side
    crop_h, crop_w = (share * largest * net / full for net, full in zip(network_hw, picture_hw, strict=True))
    return View(top * (1 - crop_h), left * (1 - crop_w), crop_h, crop_w, flipped, augmentation.min_visible)


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
    resized exactly, with antialiasing. Boxes are clipped; those hardly visible or too thin are dropped.
    """
    full_hw = (picture.height, picture.width)
    image = tv_tensors.Image(torch.from_numpy(np.array(picture)).permute(2, 0, 1))
    shrunk = np.array([full_hw[1] / annotated_hw[1], full_hw[0] / annotated_hw[0]] * 2)
    seen = _clamped(tv_tensors.BoundingBoxes(torch.from_numpy(boxes * shrunk), format="XYXY", canvas_size=full_hw))
    before = _areas(seen)
    if (view.height, view.width) != (1.0, 1.0):
        window = _window(view, full_hw)
        image, seen = transform.crop(image, *window), _clamped(transform.crop(seen, *window))
    visible = _areas(seen) >= view.min_visible * before
    image, seen = transform.resize(image, list(network_hw), antialias=True), transform.resize(seen, list(network_hw))
    if view.flip:
        image, seen = transform.horizontal_flip(image), transform.horizontal_flip(seen)
    # Resizing and mirroring round; the last clipping makes the edges exact.
    seen = _clamped(seen)
    kept = visible & ((seen[:, 2:] - seen[:, :2]) >= LEAST_SIDE).all(1)
    return image.as_subclass(Tensor), seen.as_subclass(Tensor)[kept].float(), torch.from_numpy(labels)[kept]


def _window(view: View, full_hw: tuple[int, int]) -> tuple[int, int, int, int]:
    """Top, left, height and width in whole pixels, inside the picture."""
    height, width = (max(round(s * full), 1) for s, full in zip((view.height, view.width), full_hw, strict=True))
    top = min(round(view.top * full_hw[0]), full_hw[0] - height)
    left = min(round(view.left * full_hw[1]), full_hw[1] - width)
    return top, left, height, width


def _clamped(boxes: tv_tensors.BoundingBoxes) -> tv_tensors.BoundingBoxes:
    return transform.clamp_bounding_boxes(boxes)


def _areas(boxes: Tensor) -> Tensor:
    plain = boxes.as_subclass(Tensor)
    return (plain[:, 2:] - plain[:, :2]).prod(1)
