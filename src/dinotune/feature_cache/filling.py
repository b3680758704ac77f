"""Filling a store: runs the frozen part of a backbone over the views that are missing."""

import errno
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

import torch
from torch.utils.data import DataLoader

from dinotune.data.batches import Batch
from dinotune.data.loader import Pictures, as_it_is, end_workers, outlive_one_signal, worker_count
from dinotune.data.photometric import training_inputs
from dinotune.data.problems import counted
from dinotune.data.sampler import Draw
from dinotune.data.streams import batches_of_one_shape
from dinotune.device import autocast, memory_explained
from dinotune.errors import DinotuneError
from dinotune.feature_cache.codec import pack
from dinotune.feature_cache.gathering import Gathered
from dinotune.feature_cache.room import check_room, duration, free_bytes, gigabytes
from dinotune.feature_cache.run import CachedRun
from dinotune.feature_cache.shards import Key, Packed, pack_labels
from dinotune.feature_cache.stamps import Stamp, Stamps
from dinotune.feature_cache.store import PLAIN, Store
from dinotune.feature_cache.watcher import Watcher
from dinotune.types import Cut

NO_ROOM = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
"""The disk, or the user's part of it, is full; Windows knows no quota of this name."""


class Filler:
    """Computes features of a run's training views, or of its measured pictures."""

    def __init__(self, run: CachedRun, *, training: bool) -> None:
        self.model, self.experiment, self.device, self.precision = run.model, run.experiment, run.device, run.precision
        self.records = run.records(training=training)
        self.draws = run.draws(training=training)
        self.training = training

    def fill(self, store: Store, watcher: Watcher) -> None:
        """Compute and keep the views that the store lacks; size, room and time are told before anything is written.

        The store is open, and locked against other processes. What was computed is kept, however this ends.

        Raises:
            StoppedError: the watcher did not want to go on.
            SettingsError: the features would take more than `feature_cache.max_gb`.
            DinotuneError: the disk has no room for them.
        """
        missing = store.missing(self.draws, self.records)
        if not missing:
            return
        batches = list(batches_of_one_shape(missing, _shown, self.experiment.training.pictures_per_step))
        watcher.start(f"features of {self.records.name}", len(batches))
        computed, gathered = self._computed(batches, watcher), Gathered(store)
        first, seconds = _timed(computed, len(batches))
        watcher.say(self._outlook(store, missing, first, seconds))
        try:
            gathered.take(chain(first, computed))
        except OSError as error:
            raise self._explained(store, error) from error

    def _computed(self, batches: list[list[Draw]], watcher: Watcher) -> Iterator[list[Packed]]:
        """The packed views of each batch; pictures that cannot be read are left out."""
        workers = worker_count(self.experiment.data)
        loader: DataLoader[Any] = DataLoader(
            Pictures(self.records, self.experiment.data, training=self.training),
            batch_sampler=batches,
            collate_fn=as_it_is,
            num_workers=workers,
            worker_init_fn=outlive_one_signal,
            generator=torch.Generator().manual_seed(0),
        )
        stamps, unreadable = Stamps(self.records), set[str]()
        try:
            for batch in loader:
                watcher.check()
                for message in set(batch.corrupt) - unreadable:
                    watcher.say(f"feature cache: left out: {message}")
                unreadable |= set(batch.corrupt)
                yield self._packed(batch, stamps) if len(batch) else []
                watcher.advance()
        finally:
            end_workers(loader)

    def _packed(self, batch: Batch, stamps: Mapping[int, Stamp]) -> list[Packed]:
        cut, targets = self.cut_of(batch), batch.targets
        packed = pack(cut.distinct, self.experiment.feature_cache.storage, self.model.backbone.prefix_tokens)
        packed = {name: tensor.cpu() for name, tensor in packed.items()}
        return [
            Packed(
                key=Key(image_id, PLAIN if batch.view is None else batch.view),
                stamp=stamps[image_id],
                image_hw=cut.image_hw,
                tensors={name: tensor[i] for name, tensor in packed.items()},
                alias=cut.alias,
                labels=pack_labels(
                    targets.boxes[i],
                    targets.labels[i],
                    None if targets.class_maps is None else targets.class_maps[i],
                    None if targets.masks is None else targets.masks[i],
                ),
            )
            for i, image_id in enumerate(batch.image_ids)
        ]

    @torch.no_grad()
    def cut_of(self, batch: Batch) -> Cut:
        """What the frozen part makes of a batch, as in a step of training or of an evaluation."""
        moved = batch.to(self.device)
        augmentation = self.experiment.data.augmentation
        inputs = training_inputs(moved, augmentation, self.experiment.seed) if self.training else moved.inputs
        assert isinstance(inputs, torch.Tensor), "pictures, not features"
        with memory_explained(), autocast(self.device, self.precision):
            return self.model.backbone.frozen_part(inputs)

    def _outlook(self, store: Store, missing: Sequence[Draw], first: Sequence[list[Packed]], seconds: float) -> str:
        """What will be written and how long that takes; errors where it cannot."""
        known = [view for packed in first for view in packed]
        per_pixel = sum(view.bytes for view in known) / max(
            1, sum(view.image_hw[0] * view.image_hw[1] for view in known)
        )
        size = sum(draw.height * draw.width for draw in missing) * per_pixel
        check_room(size, store.bytes, store.folder, self.experiment.feature_cache, self.records.name)
        kept = f", {len(store):,} are there" if len(store) else ""
        return (
            f"feature cache: {counted(len(missing), 'view')} of {self.records.name} to compute{kept}: "
            f"{gigabytes(size)} in {store.folder} ({gigabytes(free_bytes(store.folder))} free), "
            f"about {duration(seconds)}"
        )

    def _explained(self, store: Store, error: OSError) -> Exception:
        if error.errno not in NO_ROOM:
            return error
        left = len(store.missing(self.draws, self.records))
        return DinotuneError(
            f"{store.folder}: no room left on the disk; {counted(len(store), 'view')} are kept and {left:,} are missing. "
            "Make room and run the same again, or name another disk with feature_cache.folder"
        )


def _timed(computed: Iterator[list[Packed]], batches: int) -> tuple[list[list[Packed]], float]:
    """The first two batches, of which the first starts workers and fills caches, and the seconds that all will take."""
    began, first = time.perf_counter(), list(islice(computed, 1))
    middle, second = time.perf_counter(), list(islice(computed, 1))
    each = time.perf_counter() - middle if second else middle - began
    return [*first, *second], each * batches


def _shown(draw: Draw) -> tuple[int | None, int, int]:
    """What all pictures of a batch have in common: view and size."""
    return draw.view, draw.height, draw.width
