"""Batch samplers: which pictures meet in a batch, at which size, decided by seed, epoch and batch number alone.

That makes a run repeatable with any number of workers, and resumable in the middle of an epoch.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64
from torch.utils.data import Sampler

from dinotune import config
from dinotune.data.buckets import network_size
from dinotune.data.fixed_views import drawn_number, drawn_step
from dinotune.data.records import Records
from dinotune.data.repeats import draw_repeats, number_of_repeats, repeat_factors

ORDER, SCALE, REPEAT = 1, 2, 4
"""Keys that keep the draws of one seed apart, from each other and from the loader's views (3)."""

SCALE_STEPS = 5
"""Scale jitter takes this many even steps, so that pictures of one bucket share a size at each of them."""


Sizes = tuple[tuple[int, int], ...]
"""Height and width of a bucket at every scale."""

Target = tuple[float, int | None]
"""Scale and drawn size of `network_size`."""


class Draw(NamedTuple):
    """One picture of a batch: all that a worker needs to know."""

    picture: int
    """Position in the Records."""
    height: int
    """Height of the network input."""
    width: int
    """Width of the network input."""
    seed: int
    """Seed of the run."""
    epoch: int
    """Epoch, 0-based."""
    batch: int
    """Number of the batch in its epoch."""
    repeat: int = 0
    """0, or the number of the repeat of this picture in this epoch, where rare classes are repeated."""
    view: int | None = None
    """Number of the picture's view, where `augmentation.views` limits them; none for a view of its own."""


class TrainBatchSampler(Sampler[list[Draw]]):
    """Every picture once per epoch, in shuffled batches of one size each; incomplete batches are kept.

    With `repeat_rare`, pictures with rare classes come again in the same epoch (`repeats.repeat_factors`); how often
    in all is the same in every epoch, for each bucket, so that epochs have equally many batches.

    `set_epoch(epoch, start_batch)` decides what the next iteration gives; with `start_batch` k it gives exactly
    what would have followed after the first k batches. Its length is the whole epoch's, whatever `start_batch`.
    """

    def __init__(self, records: Records, data: config.Data, *, batch_size: int, multiple: int, seed: int) -> None:
        self._groups = _training_groups(records, data, multiple)
        self._more = repeat_factors(records, data.repeat_rare) - 1
        self._augmentation = data.augmentation
        self._batch_size = batch_size
        self._seed = seed
        self.set_epoch(0)

    def set_epoch(self, epoch: int, start_batch: int = 0) -> None:
        """Choose the epoch of the next iteration, and how many of its batches are already done."""
        self.epoch = epoch
        self.start_batch = start_batch

    def __len__(self) -> int:
        counts = [len(pictures) + number_of_repeats(self._more[pictures]) for pictures in self._groups.values()]
        return sum(-(-count // self._batch_size) for count in counts)

    def __iter__(self) -> Iterator[list[Draw]]:
        seed, epoch = self._seed, self.epoch
        views = self._augmentation.views
        for number, (sizes, pictures) in list(enumerate(self._plan()))[self.start_batch :]:
            if views is None:
                view, step = None, int(np.random.default_rng([seed, SCALE, epoch, number]).integers(len(sizes)))
            else:
                view = drawn_number(seed, epoch, number, views)
                step = drawn_step(seed, view, len(sizes), self._augmentation)
            height, width = sizes[step]
            yield [Draw(picture, height, width, seed, epoch, number, repeat, view) for picture, repeat in pictures]

    def largest_hw(self) -> tuple[int, int]:
        """Height and width of the largest network input that any batch can have."""
        return max((size for sizes in self._groups for size in sizes), key=lambda size: size[0] * size[1])

    def _plan(self) -> list[tuple[Sizes, list[list[int]]]]:
        """The epoch's batches: sizes to draw from, and pairs of picture and repeat."""
        generator = np.random.default_rng([self._seed, ORDER, self.epoch])
        repeating = np.random.default_rng([self._seed, REPEAT, self.epoch])
        rank = generator.permutation(len(self._more))
        batches = [
            (sizes, chunk)
            for sizes, pictures in self._groups.items()
            for chunk in _chunks(self._shown(pictures, rank, repeating), self._batch_size)
        ]
        return [batches[i] for i in generator.permutation(len(batches))]

    def _shown(self, pictures: np.ndarray, rank: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """What an epoch shows of a bucket: picture and repeat, one row each, in order of rank; repeats anywhere."""
        times = 1 + draw_repeats(self._more[pictures], generator)
        shown = np.repeat(pictures, times)
        repeat = np.arange(len(shown)) - np.repeat(np.cumsum(times) - times, times)
        place = np.where(repeat == 0, rank[shown], generator.uniform(0, len(rank), len(shown)))
        return np.stack([shown, repeat], 1)[np.argsort(place, kind="stable")]


def every_view(records: Records, data: config.Data, *, multiple: int, seed: int) -> list[Draw]:
    """Each picture once in each of its `augmentation.views`, in listed order within a view and a size."""
    augmentation = data.augmentation
    groups = _training_groups(records, data, multiple)
    return [
        Draw(picture, *sizes[drawn_step(seed, view, len(sizes), augmentation)], seed, 0, 0, view=view)
        for view in range(augmentation.views or 0)
        for sizes, pictures in groups.items()
        for picture in pictures.tolist()
    ]


class EvaluationBatchSampler(Sampler[list[Draw]]):
    """Every picture exactly once, in listed order within each size."""

    def __init__(self, records: Records, data: config.Data, *, batch_size: int, multiple: int) -> None:
        groups = _groups(records.sizes_hw, data, multiple, ((1.0, None),))
        batches = [(sizes[0], chunk) for sizes, group in groups.items() for chunk in _chunks(group, batch_size)]
        self._batches = [
            [Draw(picture, height, width, 0, 0, number) for picture in chunk]
            for number, ((height, width), chunk) in enumerate(batches)
        ]

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[list[Draw]]:
        return iter(self._batches)


def _targets(augmentation: config.Augmentation) -> tuple[Target, ...]:
    if augmentation.sizes is not None:
        return tuple((1.0, size) for size in augmentation.sizes)
    low, high = augmentation.scale_jitter
    return tuple((float(scale), None) for scale in np.linspace(low, high, SCALE_STEPS if high > low else 1))


def _training_groups(records: Records, data: config.Data, multiple: int) -> dict[Sizes, np.ndarray]:
    shapes_hw = np.ones_like(records.sizes_hw) if data.augmentation.square_crops else records.sizes_hw
    return _groups(shapes_hw, data, multiple, _targets(data.augmentation))


def _groups(
    shapes_hw: Int64[np.ndarray, "images 2"], data: config.Data, multiple: int, targets: tuple[Target, ...]
) -> dict[Sizes, np.ndarray]:
    """Indices of the pictures that share their size at every target."""
    shapes, inverse = np.unique(shapes_hw, axis=0, return_inverse=True)
    sizes = [tuple(network_size((int(h), int(w)), data, multiple, *target) for target in targets) for h, w in shapes]
    buckets = {bucket: number for number, bucket in enumerate(dict.fromkeys(sizes))}
    number = np.array([buckets[bucket] for bucket in sizes])[inverse.reshape(-1)]
    return {bucket: np.flatnonzero(number == i) for bucket, i in buckets.items()}


def _chunks(indices: np.ndarray, size: int) -> list[list[int]]:
    return [indices[start : start + size].tolist() for start in range(0, len(indices), size)]
