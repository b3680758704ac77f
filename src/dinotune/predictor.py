"""A trained model for use: pictures in, `supervision.Detections` in the picture's own pixels out."""

from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from dinotune.checkpoints import Description, find_checkpoint, load_model
from dinotune.data.batches import Batch
from dinotune.data.buckets import network_size
from dinotune.data.images import read_image, to_rgb
from dinotune.data.records import LabelSet
from dinotune.device import autocast, memory_explained, resolve_device, resolve_precision
from dinotune.errors import DinotuneError
from dinotune.model import Model
from dinotune.tasks.detected_boxes import DetectedBoxes
from dinotune.tasks.detection import above_thresholds, in_picture_pixels, to_supervision
from dinotune.types import Targets

if TYPE_CHECKING:
    import supervision as sv

Picture = str | Path | Image.Image | np.ndarray | Tensor
"""A file, a PIL picture as it is (orientation in its EXIF does not count), an array ``[height, width(, 3 or 4)]`` of uint8, or a tensor ``[3, height, width]`` (uint8, or floats in [0, 1]); RGB."""

Pictures = list[Picture] | tuple[Picture, ...]


class Predictor:
    """A model with its classes and thresholds, on one device."""

    def __init__(self, model: Model, description: Description, device: str = "auto") -> None:
        self.description = description
        self.device = resolve_device(device)
        trained_in = description.experiment.training.precision
        # The CPU has no fp16; fp32 only makes the same weights more exact.
        wanted = "fp32" if (trained_in, self.device.type) == ("fp16", "cpu") else trained_in
        self.precision = resolve_precision(wanted, self.device)
        self.model = model.to(self.device).eval()

    @property
    def labels(self) -> LabelSet:
        """Class names and original ids."""
        return self.description.labels

    @overload
    def predict(self, pictures: Picture, threshold: float | None = None) -> "sv.Detections": ...
    @overload
    def predict(self, pictures: Pictures, threshold: float | None = None) -> "list[sv.Detections]": ...

    def predict(
        self, pictures: Picture | Pictures, threshold: float | None = None
    ) -> "sv.Detections | list[sv.Detections]":
        """Detections of one picture, or a list of them for several.

        Args:
            pictures: A path, PIL picture, array or tensor (RGB), or a list of them.
            threshold: Lowest score that counts; none takes each class's best-F1 score from the evaluation (0.5
                where there is none).

        Raises:
            DataError: a file cannot be read as a picture.
            DinotuneError: another type, shape or range of values.
        """
        if isinstance(pictures, list | tuple):
            return [self._to_supervision(self._detect(to_pil(picture)), threshold) for picture in pictures]
        return self._to_supervision(self._detect(to_pil(pictures)), threshold)

    @torch.no_grad()
    def _detect(self, picture: Image.Image) -> DetectedBoxes:
        picture_hw = (picture.height, picture.width)
        size = network_size(picture_hw, self.description.experiment.data, self.model.size_multiple)
        image = transforms.resize(transforms.pil_to_tensor(picture), list(size), antialias=True)
        batch = Batch(image[None], Targets((), ()), (0,), ("",), (picture_hw,), (), 0, 0).to(self.device)
        with autocast(self.device, self.precision), memory_explained():
            detections = self.model.predict(batch.images.float() / 255)
        return in_picture_pixels(detections, batch)

    def _to_supervision(self, detected: DetectedBoxes, threshold: float | None) -> "sv.Detections":
        thresholds = self.description.thresholds if threshold is None else threshold
        return to_supervision(above_thresholds(detected, self.labels, thresholds), self.labels)


def load_predictor(source: str | Path, device: str = "auto") -> Predictor:
    """The model of a run folder (its best by AP) or of one checkpoint file, ready to predict."""
    model, description = load_model(find_checkpoint(Path(source)))
    return Predictor(model, description, device)


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
