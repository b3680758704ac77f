"""Whatever a user hands over as a picture, as an RGB PIL picture."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dinotune.data.images import read_image, to_rgb
from dinotune.errors import DinotuneError

Picture = str | Path | Image.Image | np.ndarray | Tensor
"""A file, a PIL picture as it is (orientation in its EXIF does not count), an array ``[height, width(, 3 or 4)]`` of uint8, or a tensor ``[3, height, width]`` (uint8, or floats in [0, 1]); RGB."""

Pictures = list[Picture] | tuple[Picture, ...]


def to_pil(picture: Picture) -> Image.Image:
    """Any accepted picture as an RGB PIL picture.

    Raises:
        DataError: a file cannot be read as a picture.
        DinotuneError: another type, shape or range of values.
    """
    match picture:
        case str() | Path():
            return read_image(Path(picture))
        case Image.Image():
            return to_rgb(picture)
        case Tensor():
            return Image.fromarray(_tensor_pixels(picture.detach().cpu()))
        case np.ndarray():
            return to_rgb(Image.fromarray(_array_pixels(picture)))
    raise DinotuneError(f"{type(picture).__name__} is no picture; give a path, PIL picture, array, tensor or a list")


def _tensor_pixels(tensor: Tensor) -> np.ndarray:
    """uint8 pixels [height, width, 3] of a tensor."""
    if tensor.ndim != 3 or tensor.shape[0] != 3 or not tensor.numel():
        raise DinotuneError(f"tensor of shape {list(tensor.shape)}; give [3, height, width] (RGB), or a list of them")
    if tensor.is_floating_point():
        if not bool(((tensor >= 0) & (tensor <= 1)).all()):
            low, high = float(tensor.min()), float(tensor.max())
            raise DinotuneError(f"tensor with values from {low:.3g} to {high:.3g}; give RGB in [0, 1], not normalised")
        tensor = (tensor.float() * 255).round().to(torch.uint8)
    if tensor.dtype != torch.uint8:
        raise DinotuneError(f"tensor of type {tensor.dtype}; give uint8 in 0..255, or floats in [0, 1]")
    pixels: np.ndarray = tensor.permute(1, 2, 0).contiguous().numpy()
    return pixels


def _array_pixels(array: np.ndarray) -> np.ndarray:
    grey, coloured = array.ndim == 2, array.ndim == 3 and array.shape[2] in (3, 4)
    if not (grey or coloured) or not array.size:
        usable = "[height, width] (grey), [height, width, 3] (RGB) or [height, width, 4] (RGBA)"
        raise DinotuneError(f"array of shape {list(array.shape)}; give {usable}, or a list of them")
    if array.dtype != np.uint8:
        raise DinotuneError(f"array of type {array.dtype}; give uint8 in 0..255")
    return np.ascontiguousarray(array)
