"""The caches of a run: one of the training views, one of the measured pictures as they are."""

from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader

from dinotune import config
from dinotune.backbones.base import CutPlace
from dinotune.data.loader import Pictures, evaluation_loader, training_loader, worker_count
from dinotune.data.records import Records
from dinotune.device import Precision
from dinotune.feature_cache.decision import live_from
from dinotune.feature_cache.filling import Filler
from dinotune.feature_cache.identity import identity_of
from dinotune.feature_cache.pictures import CachedPictures
from dinotune.feature_cache.room import cache_root, gigabytes
from dinotune.feature_cache.self_check import check
from dinotune.feature_cache.store import Store
from dinotune.feature_cache.watcher import Watcher
from dinotune.model import Model

MEMORY_SHARE = 0.5
"""Part of the free memory that features may take with `in_memory: auto`."""


@dataclass(frozen=True)
class Cached:
    """A run whose features are to be kept: its model on its device, its settings with views, its pictures."""

    model: Model
    experiment: config.Experiment
    train: Records
    measured: Records
    device: torch.device
    precision: Precision

    @property
    def kinds(self) -> tuple[bool, ...]:
        """For which values of `training` there is a store: none of measured pictures that windows slide over."""
        return (True, False) if self.experiment.evaluation.window is None else (True,)

    def filler(self, *, training: bool) -> Filler:
        """What computes the features of the training views, or of the measured pictures."""
        records = self.train if training else self.measured
        return Filler(self.model, self.experiment, records, self.device, self.precision, training)

    def store(self, *, training: bool) -> Store:
        """The store of the training views, or of the measured pictures; not yet open."""
        split = "train" if training else self.experiment.evaluation.split
        identity = identity_of(self.model, self.experiment, self.precision, split, training=training)
        return Store(identity.folder(cache_root(self.experiment.feature_cache)), identity)

    def fill(self, watcher: Watcher, *, training: bool) -> Store:
        """Open a store and compute what it lacks.

        Raises:
            StoppedError: the watcher did not want to go on.
            DinotuneError: the folder holds something else, or there is no room.
        """
        filler, store = self.filler(training=training), self.store(training=training)
        store.make_folder()
        with store.locked(watcher):
            store.remove_unfinished()
            store.open(filler.records)
            for note in store.notes:
                watcher.say(f"feature cache: {note}")
            filler.fill(store, watcher)
        check(store, filler)
        return store


class FeatureCaches:
    """Stores of a run, open and whole, and loaders that read from them."""

    def __init__(self, cached: Cached, watcher: Watcher, free_memory: float) -> None:
        """Compute what is missing, and hold everything in memory where that is wanted.

        Raises:
            StoppedError: the watcher did not want to go on.
            DinotuneError: a folder holds something else, or there is no room.
        """
        self._cached = cached
        self._live_from = live_from(cached.model, cached.experiment)
        self._place: CutPlace = cached.model.backbone.cut_place
        self._train = cached.fill(watcher, training=True)
        self._measured = cached.fill(watcher, training=False) if False in cached.kinds else None
        stores = [store for store in (self._train, self._measured) if store is not None]
        size = sum(store.bytes for store in stores)
        wanted = cached.experiment.feature_cache.in_memory
        self.in_memory = size < MEMORY_SHARE * free_memory if wanted == "auto" else wanted
        for store in stores if self.in_memory else ():
            store.into_memory()
        where = "in memory" if self.in_memory else "on disk"
        views = sum(map(len, stores))
        watcher.say(f"feature cache: {views:,} views, {gigabytes(size)} {where}; {self._train.folder}")
        if self._live_from is not None:
            watcher.say(f"feature cache: from epoch {self._live_from + 1} on more learns, and pictures are read again")

    def training_loader(self) -> DataLoader[Any]:
        """As `data.loader.training_loader`, of features."""
        cached, experiment = self._cached, self._cached.experiment
        live = Pictures(cached.train, experiment.data, training=True)
        return training_loader(
            cached.train,
            self._data(reads_pictures=self._live_from is not None),
            batch_size=experiment.training.pictures_per_step,
            multiple=cached.model.size_multiple,
            seed=experiment.seed,
            device_type=cached.device.type,
            pictures=CachedPictures(cached.train, self._train, live, self._live_from),
        )

    def evaluation_loader(self) -> DataLoader[Any] | None:
        """As `data.loader.evaluation_loader`, of features; none where evaluations slide windows over pictures."""
        cached, experiment = self._cached, self._cached.experiment
        if self._measured is None:
            return None
        live = Pictures(cached.measured, experiment.data, training=False)
        return evaluation_loader(
            cached.measured,
            self._data(reads_pictures=False),
            batch_size=experiment.evaluation.batch_size or experiment.training.pictures_per_step,
            multiple=cached.model.size_multiple,
            device_type=cached.device.type,
            pictures=CachedPictures(cached.measured, self._measured, live),
        )

    def holds(self) -> bool:
        """Whether the model's frozen part is still the one whose features are kept."""
        return self._cached.model.backbone.cut_place == self._place

    def _data(self, *, reads_pictures: bool) -> config.Data:
        """Settings of a loader: rows of memory need no processes that bring them."""
        data = self._cached.experiment.data
        workers = worker_count(data) if reads_pictures or not self.in_memory else 0
        return data.model_copy(update={"workers": workers})
