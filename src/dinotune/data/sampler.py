"""Batch samplers: which pictures meet in a batch, at which size, decided by seed, epoch and batch number alone.

That makes a run repeatable with any number of workers, and resumable in the middle of an epoch.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler

from dinotune import config
from dinotune.data.buckets import network_size
from dinotune.data.records import Records

ORDER, SCALE = 1, 2
"""Keys that keep the draws of one seed apart."""

SCALE_STEPS = 5
"""Scale jitter takes this many even steps, so that pictures of one bucket share a size at each of them."""


Sizes = tuple[tuple[int, int], ...]
"""Height and width of a bucket at every scale."""


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


class TrainBatchSampler(Sampler[list[Draw]]):
    """Every picture once per epoch, in shuffled batches of one size each; incomplete batches are kept.

    `set_epoch(epoch, start_batch)` decides what the next iteration gives; with `start_batch` k it gives exactly
    what would have followed after the first k batches. Its length is the whole epoch's, whatever `start_batch`.
    """

    def __init__(self, records: Records, data: config.Data, *, batch_size: int, multiple: int, seed: int) -> None:
        low, high = data.augmentation.scale_jitter
        scales = np.linspace(low, high, SCALE_STEPS if high > low else 1)
        self._groups = _groups(records, data, multiple, tuple(float(scale) for scale in scales))
        self._batch_size = batch_size
        self._seed = seed
        self._images = len(records)
        self.set_epoch(0)

    def set_epoch(self, epoch: int, start_batch: int = 0) -> None:
        """Choose the epoch of the next iteration, and how many of its batches are already done."""
        self.epoch = epoch
        self.start_batch = start_batch

    def __len__(self) -> int:
        return sum(-(-len(indices) // self._batch_size) for indices in self._groups.values())

    def __iter__(self) -> Iterator[list[Draw]]:
        seed, epoch = self._seed, self.epoch
        for number, (sizes, pictures) in list(enumerate(self._plan()))[self.start_batch :]:
            scale = np.random.default_rng([seed, SCALE, epoch, number]).integers(len(sizes))
            height, width = sizes[scale]
            yield [Draw(picture, height, width, seed, epoch, number) for picture in pictures]

    def largest_hw(self) -> tuple[int, int]:
        """Height and width of the largest network input that any batch can have."""
        return max((size for sizes in self._groups for size in sizes), key=lambda size: size[0] * size[1])

    def _plan(self) -> list[tuple[Sizes, list[int]]]:
        """The epoch's batches: sizes to draw from, and pictures."""
        generator = np.random.default_rng([self._seed, ORDER, self.epoch])
        rank = generator.permutation(self._images)
        batches = [
            (sizes, chunk)
            for sizes, indices in self._groups.items()
            for chunk in _chunks(indices[np.argsort(rank[indices])], self._batch_size)
        ]
        return [batches[i] for i in generator.permutation(len(batches))]


class EvaluationBatchSampler(Sampler[list[Draw]]):
    """Every picture exactly once, in listed order within each size."""

    def __init__(self, records: Records, data: config.Data, *, batch_size: int, multiple: int) -> None:
        groups = _groups(records, data, multiple, (1.0,))
        batches = [(sizes[0], chunk) for sizes, group in groups.items() for chunk in _chunks(group, batch_size)]
        self._batches = [
            [Draw(picture, height, width, 0, 0, number) for picture in chunk]
            for number, ((height, width), chunk) in enumerate(batches)
        ]

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[list[Draw]]:
        return iter(self._batches)


def _groups(records: Records, data: config.Data, multiple: int, scales: tuple[float, ...]) -> dict[Sizes, np.ndarray]:
    """Indices of the pictures that share their size at every scale."""
    shapes, inverse = np.unique(records.sizes_hw, axis=0, return_inverse=True)
    sizes = [tuple(network_size((int(h), int(w)), data, multiple, scale) for scale in scales) for h, w in shapes]
    buckets = {bucket: number for number, bucket in enumerate(dict.fromkeys(sizes))}
    number = np.array([buckets[bucket] for bucket in sizes])[inverse.reshape(-1)]
    return {bucket: np.flatnonzero(number == i) for bucket, i in buckets.items()}


def _chunks(indices: np.ndarray, size: int) -> list[list[int]]:
    return [indices[start : start + size].tolist() for start in range(0, len(indices), size)]
