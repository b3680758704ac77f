"""A trained model for use: pictures in, `supervision.Detections` in the picture's own pixels out."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from dinotune.checkpoints import Description, find_checkpoint, load_model
from dinotune.data.batches import Batch
from dinotune.data.buckets import network_size
from dinotune.data.images import read_image
from dinotune.data.records import LabelSet
from dinotune.device import autocast, resolve_device, resolve_precision
from dinotune.errors import DinotuneError
from dinotune.model import Model
from dinotune.tasks.detected_boxes import DetectedBoxes
from dinotune.tasks.detection import above_thresholds, in_picture_pixels, to_supervision
from dinotune.types import Targets

if TYPE_CHECKING:
    import supervision as sv

Picture = str | Path | Image.Image | np.ndarray | Tensor
"""A file, a PIL picture, an array ``[height, width(, 3 or 4)]`` of uint8, or a tensor ``[3, height, width]`` (uint8, or floats in [0, 1]); RGB."""

Pictures = list[Picture] | tuple[Picture, ...]


class Predictor:
    """A model with its classes and thresholds, on one device."""

    def __init__(self, model: Model, description: Description, device: str = "auto") -> None:
        self.description = description
        self.device = resolve_device(device)
        self.precision = resolve_precision(description.experiment.training.precision, self.device)
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
        """
        if isinstance(pictures, Picture):
            return self._to_supervision(self._detect(to_pil(pictures)), threshold)
        return [self._to_supervision(self._detect(to_pil(picture)), threshold) for picture in pictures]

    @torch.no_grad()
    def _detect(self, picture: Image.Image) -> DetectedBoxes:
        picture_hw = (picture.height, picture.width)
        size = network_size(picture_hw, self.description.experiment.data, self.model.size_multiple)
        image = transforms.resize(transforms.pil_to_tensor(picture), list(size), antialias=True)
        batch = Batch(image[None], Targets((), ()), (0,), ("",), (picture_hw,), (), 0, 0).to(self.device)
        with autocast(self.device, self.precision):
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
    """Any accepted picture as an RGB PIL picture."""
    match picture:
        case str() | Path():
            return read_image(Path(picture))
        case Image.Image():
            return picture.convert("RGB")
        case Tensor():
            image: Image.Image = transforms.to_pil_image(_checked(picture, picture.shape, 0).cpu())
            return image
        case np.ndarray():
            if picture.ndim == 3:
                _checked(picture, picture.shape, 2)
            if picture.dtype != np.uint8:
                raise DinotuneError(f"array of type {picture.dtype}; give uint8 in 0..255")
            return Image.fromarray(picture).convert("RGB")


def _checked(picture: Any, shape: Sequence[int], channel_axis: int) -> Any:
    channels = {0: (3,), 2: (3, 4)}[channel_axis]
    if len(shape) != 3 or shape[channel_axis] not in channels:
        wanted = "[3, height, width]" if channel_axis == 0 else "[height, width, 3]"
        raise DinotuneError(f"picture of shape {list(shape)}; give {wanted}")
    return picture
