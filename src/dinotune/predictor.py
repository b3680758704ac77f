"""A trained model for use: pictures in, `supervision.Detections` in the picture's own pixels out."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar, overload

import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from dinotune import config
from dinotune.checkpoints import Description, load_model
from dinotune.data.any_picture import Picture, Pictures, to_pil
from dinotune.data.batches import Batch
from dinotune.data.buckets import network_size
from dinotune.data.records import LabelSet
from dinotune.data.streams import THREADS, ahead, batches_of_one_shape
from dinotune.device import autocast, memory_explained, resolve_device, resolve_precision
from dinotune.files import find_checkpoint
from dinotune.model import Model
from dinotune.tasks.detected_boxes import DetectedBoxes
from dinotune.tasks.detection import above_thresholds, in_picture_pixels, to_supervision, used_thresholds
from dinotune.tasks.tiles import merge_tiles, tile_views
from dinotune.types import Targets

if TYPE_CHECKING:
    import supervision as sv

Key = TypeVar("Key")

PLAIN = config.Prediction()


@dataclass(frozen=True)
class _Prepared(Generic[Key]):
    """A picture as the network takes it."""

    key: Key
    image: UInt8[Tensor, "3 height width"]
    picture_hw: tuple[int, int]


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

    def __repr__(self) -> str:
        experiment = self.description.experiment
        return (
            f"Predictor({experiment.head.kind} on {experiment.backbone.id}, {len(self.labels)} classes, {self.device})"
        )

    @property
    def labels(self) -> LabelSet:
        """Class names and original ids."""
        return self.description.labels

    def merge_adapter(self) -> None:
        """Fold LoRA's or DoRA's changes into the backbone's weights: the same answers from fewer layers.

        Raises:
            DinotuneError: an adapter that is no change of weights.
        """
        self.model.merge_adapter()

    def thresholds(self, threshold: float | None = None) -> dict[str, float]:
        """Lowest score that counts, per class name: `threshold`, or else the stored ones, or else 0.5."""
        return used_thresholds(self.labels, self.description.thresholds, threshold)

    @overload
    def predict(
        self,
        pictures: Picture,
        threshold: float | None = None,
        *,
        tiles: int | None = None,
        overlap: float = PLAIN.overlap,
        whole: bool = PLAIN.whole,
        batch_size: int = PLAIN.batch_size,
    ) -> "sv.Detections": ...
    @overload
    def predict(
        self,
        pictures: Pictures,
        threshold: float | None = None,
        *,
        tiles: int | None = None,
        overlap: float = PLAIN.overlap,
        whole: bool = PLAIN.whole,
        batch_size: int = PLAIN.batch_size,
    ) -> "list[sv.Detections]": ...

    def predict(
        self,
        pictures: Picture | Pictures,
        threshold: float | None = None,
        *,
        tiles: int | None = None,
        overlap: float = PLAIN.overlap,
        whole: bool = PLAIN.whole,
        batch_size: int = PLAIN.batch_size,
    ) -> "sv.Detections | list[sv.Detections]":
        """Detections of one picture, or a list of them for several, best score first.

        Args:
            pictures: A path, PIL picture, array or tensor (RGB), or a list of them.
            threshold: Lowest score that counts; none takes each class's best-F1 score from the evaluation (0.5
                where there is none).
            tiles: Cut pictures larger than this many pixels into overlapping tiles of that size.
            overlap: Share of a tile that its neighbour sees too.
            whole: Beside the tiles, look at the whole picture for objects larger than any tile.
            batch_size: Pictures or tiles per step of the network.

        Raises:
            DataError: a file cannot be read as a picture.
            DinotuneError: another type, shape or range of values.
        """
        settings = config.Prediction.checked(
            threshold=threshold, tiles=tiles, overlap=overlap, whole=whole, batch_size=batch_size
        )
        if not isinstance(pictures, list | tuple):
            return next(self.stream([(0, to_pil(pictures))], settings))[1]
        images = ((index, to_pil(picture)) for index, picture in enumerate(pictures))
        found = dict(self.stream(images, settings))
        return [found[index] for index in range(len(pictures))]

    def stream(
        self, pictures: Iterable[tuple[Key, Image.Image]], settings: config.Prediction = PLAIN
    ) -> "Iterator[tuple[Key, sv.Detections]]":
        """Detections of any number of RGB pictures, each with the key it came with; the order may change.

        Pictures that share a network shape are computed together; a few batches are held at a time.
        """
        detected: Iterable[tuple[Key, DetectedBoxes]]
        if settings.tiles is None:
            detected = self._detect_all(pictures, settings.batch_size)
        else:
            detected = ((key, self._detect_in_tiles(image, settings)) for key, image in pictures)
        thresholds = self.thresholds(settings.threshold)
        for key, rows in detected:
            yield key, to_supervision(above_thresholds(rows, self.labels, thresholds), self.labels)

    def _detect_in_tiles(self, picture: Image.Image, settings: config.Prediction) -> DetectedBoxes:
        assert settings.tiles is not None
        picture_hw = (picture.height, picture.width)
        views = tile_views(picture_hw, settings.tiles, settings.overlap)
        if len(views) == 1:
            return self._detect_whole(picture)
        crops = ((index, picture.crop(view)) for index, view in enumerate(views))
        # Boxes that do not count must not push aside those that do.
        thresholds = self.thresholds(settings.threshold)
        found = {
            index: above_thresholds(rows, self.labels, thresholds)
            for index, rows in self._detect_all(crops, settings.batch_size)
        }
        whole = self._detect_whole(picture) if settings.whole else DetectedBoxes.empty()
        whole = above_thresholds(whole, self.labels, thresholds)
        return merge_tiles([found[index] for index in range(len(views))], views, picture_hw, whole)

    def _detect_whole(self, picture: Image.Image) -> DetectedBoxes:
        [rows] = self._detect([self._prepare((0, picture))])
        return rows

    def _detect_all(
        self, pictures: Iterable[tuple[Key, Image.Image]], batch_size: int
    ) -> Iterator[tuple[Key, DetectedBoxes]]:
        with ThreadPoolExecutor(THREADS) as pool:
            prepared = ahead(pool, self._prepare, pictures, batch_size)
            for batch in batches_of_one_shape(prepared, lambda item: item.image.shape, batch_size):
                yield from zip([item.key for item in batch], self._detect(batch), strict=True)

    def _prepare(self, keyed: tuple[Key, Image.Image]) -> _Prepared[Key]:
        key, picture = keyed
        picture_hw = (picture.height, picture.width)
        size = network_size(picture_hw, self.description.experiment.data, self.model.size_multiple)
        return _Prepared(
            key, transforms.resize(transforms.pil_to_tensor(picture), list(size), antialias=True), picture_hw
        )

    @torch.no_grad()
    def _detect(self, pictures: Sequence[_Prepared[Key]]) -> list[DetectedBoxes]:
        images = torch.stack([item.image for item in pictures])
        sizes, ids = tuple(item.picture_hw for item in pictures), tuple(range(len(pictures)))
        batch = Batch(images, Targets((), ()), ids, ("",) * len(ids), sizes, (), 0, 0).to(self.device)
        with autocast(self.device, self.precision), memory_explained("predict with a lower batch_size"):
            detections = self.model.predict(batch.images.float() / 255)
        rows = in_picture_pixels(detections, batch)
        return [rows.select(rows.image_ids == number) for number in ids]


def load_predictor(source: str | Path, device: str = "auto") -> Predictor:
    """The model of a run folder (its best by AP) or of one checkpoint file, ready to predict."""
    model, description = load_model(find_checkpoint(Path(source)))
    return Predictor(model, description, device)
