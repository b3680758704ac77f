"""A trained model for use: pictures in, answers in each picture's own pixels out."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar, overload

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from dinotune import config
from dinotune.checkpoints import Description
from dinotune.data.any_picture import Picture, Pictures, to_pil
from dinotune.data.batches import Batch
from dinotune.data.buckets import network_size
from dinotune.data.records import LabelSet
from dinotune.data.streams import THREADS, ahead, batches_of_one_shape
from dinotune.data.transforms import plain_view
from dinotune.device import autocast, memory_explained, resolve_device, resolve_precision
from dinotune.model import Model
from dinotune.types import Predictions, Targets

Key = TypeVar("Key")
Answer = TypeVar("Answer")
"""What a user gets for a picture."""

PLAIN = config.Prediction()


@dataclass(frozen=True)
class Prepared(Generic[Key]):
    """A picture as the network takes it."""

    key: Key
    image: UInt8[Tensor, "3 height width"]
    picture_hw: tuple[int, int]


@dataclass(frozen=True)
class Answered(Generic[Answer]):
    """A picture file with its answer."""

    path: Path
    number: int
    """From 1, in the order of the files."""
    picture_hw: tuple[int, int]
    answer: Answer


class Predictor(ABC, Generic[Answer]):
    """A model with its classes, on one device; each task has its own kind."""

    noun: ClassVar[str]
    """What is counted in a picture; empty where each has one answer as a whole."""
    found: ClassVar[str]
    """What is found, in the plural; files have it under this name."""
    writes: ClassVar[frozenset[str]] = frozenset({"json", "pictures"})
    """What can be written of the answers, of `config.Prediction.write`."""
    together: ClassVar[frozenset[str]] = frozenset()
    """What of it is written when all answers are there, so that they are held until then."""

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
    ) -> Answer: ...
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
    ) -> list[Answer]: ...

    def predict(
        self,
        pictures: Picture | Pictures,
        threshold: float | None = None,
        *,
        tiles: int | None = None,
        overlap: float = PLAIN.overlap,
        whole: bool = PLAIN.whole,
        batch_size: int = PLAIN.batch_size,
    ) -> Answer | list[Answer]:
        """The answer for one picture, or a list of them for several, best score first.

        Args:
            pictures: A path, PIL picture, array or tensor (RGB), or a list of them.
            threshold: Lowest score that counts; none takes what suits the task: a detector's best-F1 score of each
                class from the evaluation (0.5 where there is none), all of a classifier's.
            tiles: Cut pictures larger than this many pixels into overlapping tiles of that size (detectors).
            overlap: Share of a tile that its neighbour sees too.
            whole: Beside the tiles, look at the whole picture for objects larger than any tile.
            batch_size: Pictures or tiles per step of the network.

        Raises:
            DataError: a file cannot be read as a picture.
            DinotuneError: another type, shape or range of values; a setting that is not this task's.
        """
        settings = config.Prediction.checked(
            threshold=threshold, tiles=tiles, overlap=overlap, whole=whole, batch_size=batch_size
        )
        if not isinstance(pictures, list | tuple):
            return next(self.stream([(0, to_pil(pictures))], settings))[1]
        images = ((index, to_pil(picture)) for index, picture in enumerate(pictures))
        found = dict(self.stream(images, settings))
        return [found[index] for index in range(len(pictures))]

    @abstractmethod
    def stream(
        self, pictures: Iterable[tuple[Key, Image.Image]], settings: config.Prediction = PLAIN
    ) -> Iterator[tuple[Key, Answer]]:
        """Answers for any number of RGB pictures, each with the key it came with; the order may change.

        Pictures that share a network shape are computed together; a few batches are held at a time.
        """

    def check(self, settings: config.Prediction) -> None:
        """SettingsError for settings that mean nothing to this task."""

    def heading(self, threshold: float | None = None) -> dict[str, Any]:  # noqa: ARG002
        """What a JSON file of answers begins with."""
        return {"classes": list(self.labels.names)}

    @abstractmethod
    def describe_threshold(self, threshold: float | None = None) -> str:
        """Which scores count, in a line."""

    @abstractmethod
    def draw(self, image: Image.Image, answer: Answer) -> Image.Image:
        """A copy of the picture with its answer."""

    @abstractmethod
    def entries(self, answer: Answer) -> list[dict[str, Any]]:
        """The answer for a JSON file, as a list of what was found."""

    def write_one(self, answer: Answer, out: Path, name: str, kinds: Sequence[str]) -> None:
        """Write the task's own files of one picture below `out`, under its name without a suffix, as far as `kinds` names them."""

    def write(self, answered: Sequence[Answered[Answer]], out: Path, kinds: Sequence[str]) -> None:
        """Write those of all pictures below `out`, of `together` as far as `kinds` names them."""

    def batches(
        self, pictures: Iterable[tuple[Key, Image.Image]], batch_size: int
    ) -> Iterator[tuple[list[Key], Predictions, Batch]]:
        """Run the network on pictures, those of one network shape together."""
        with ThreadPoolExecutor(THREADS) as pool:
            prepared = ahead(pool, self.prepare, pictures, batch_size)
            for group in batches_of_one_shape(prepared, lambda item: item.image.shape, batch_size):
                yield [item.key for item in group], *self.run(group)

    def prepare(self, keyed: tuple[Key, Image.Image]) -> Prepared[Key]:
        """Resize a picture for the network."""
        key, picture = keyed
        picture_hw, data = (picture.height, picture.width), self.description.experiment.data
        size = network_size(picture_hw, data, self.model.size_multiple)
        window = plain_view(picture_hw, data).window(picture_hw)
        seen = transforms.crop(transforms.pil_to_tensor(picture), *window)
        return Prepared(key, transforms.resize(seen, list(size), antialias=True), picture_hw)

    @torch.no_grad()
    def run(self, pictures: Sequence[Prepared[Key]]) -> tuple[Predictions, Batch]:
        """Predictions of pictures of one network shape, and the batch that they made, with image ids from 0."""
        images = torch.stack([item.image for item in pictures])
        sizes, ids = tuple(item.picture_hw for item in pictures), tuple(range(len(pictures)))
        batch = Batch(images, Targets((), ()), ids, ("",) * len(ids), sizes, (), 0, 0).to(self.device)
        with autocast(self.device, self.precision), memory_explained("predict with a lower batch_size"):
            return self.forward(batch.images.float() / 255), batch

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Predictions:
        """Predictions of pictures in [0, 1] in pixels of the network input."""
        return self.model.predict(images)
