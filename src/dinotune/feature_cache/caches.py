"""The caches of a run: one of the training views, one of the measured pictures as they are."""

from typing import Any

from torch.utils.data import DataLoader

from dinotune import config
from dinotune.backbones.base import CutPlace
from dinotune.data.loader import Pictures, evaluation_loader, training_loader, worker_count
from dinotune.feature_cache.filling import Filler
from dinotune.feature_cache.pictures import CachedPictures
from dinotune.feature_cache.room import gigabytes
from dinotune.feature_cache.run import CachedRun
from dinotune.feature_cache.self_check import check
from dinotune.feature_cache.store import Store
from dinotune.feature_cache.watcher import Watcher

MEMORY_SHARE = 0.5
"""Part of the free memory that features may take with `in_memory: auto`."""


def fill_store(run: CachedRun, watcher: Watcher, *, training: bool) -> Store:
    """Open the store of the training views, or of the measured pictures, and compute what it lacks.

    Raises:
        StoppedError: the watcher did not want to go on.
        DinotuneError: the folder holds something else, or there is no room.
    """
    filler, store = Filler(run, training=training), run.store(training=training)
    store.make_folder()
    with store.locked(watcher):
        store.remove_unfinished()
        store.open(run.records(training=training))
        for note in store.notes:
            watcher.say(f"feature cache: {note}")
        filler.fill(store, watcher)
    check(store, filler)
    return store


class FeatureCaches:
    """Stores of a run, open and whole, and loaders that read from them."""

    def __init__(self, run: CachedRun, watcher: Watcher, free_memory: float) -> None:
        """Compute what is missing, and hold everything in memory where that is wanted.

        Raises:
            StoppedError: the watcher did not want to go on.
            DinotuneError: a folder holds something else, or there is no room.
        """
        self._run = run
        self._live_from = run.live_from
        self._place: CutPlace = run.model.backbone.cut_place
        self._train = fill_store(run, watcher, training=True)
        self._measured = fill_store(run, watcher, training=False) if False in run.kinds else None
        stores = [store for store in (self._train, self._measured) if store is not None]
        size = sum(store.bytes for store in stores)
        wanted = run.experiment.feature_cache.in_memory
        self.in_memory = size < MEMORY_SHARE * free_memory if wanted == "auto" else wanted
        for store in stores:
            store.hold(in_memory=self.in_memory)
        where = "in memory" if self.in_memory else "on disk"
        views = sum(map(len, stores))
        watcher.say(f"feature cache: {views:,} views, {gigabytes(size)} {where}; {self._train.folder}")
        if self._live_from is not None:
            watcher.say(f"feature cache: from epoch {self._live_from + 1} on more learns, and pictures are read again")

    def training_loader(self) -> DataLoader[Any]:
        """As `data.loader.training_loader`, of features."""
        run, experiment = self._run, self._run.experiment
        live = Pictures(run.train, experiment.data, training=True)
        return training_loader(
            run.train,
            self._data(reads_pictures=self._live_from is not None),
            batch_size=experiment.training.pictures_per_step,
            multiple=run.model.size_multiple,
            seed=experiment.seed,
            device_type=run.device.type,
            pictures=CachedPictures(run.train, self._train, live, self._live_from),
        )

    def evaluation_loader(self) -> DataLoader[Any] | None:
        """As `data.loader.evaluation_loader`, of features; none where evaluations slide windows over pictures."""
        run, experiment = self._run, self._run.experiment
        if self._measured is None:
            return None
        live = Pictures(run.measured, experiment.data, training=False)
        return evaluation_loader(
            run.measured,
            self._data(reads_pictures=False),
            batch_size=experiment.evaluation.batch_size or experiment.training.pictures_per_step,
            multiple=run.model.size_multiple,
            device_type=run.device.type,
            pictures=CachedPictures(run.measured, self._measured, live),
        )

    def holds(self) -> bool:
        """Whether the model's frozen part is still the one whose features are kept."""
        return self._run.model.backbone.cut_place == self._place

    def _data(self, *, reads_pictures: bool) -> config.Data:
        """Settings of a loader: rows of memory need no processes that bring them."""
        data = self._run.experiment.data
        workers = worker_count(data) if reads_pictures or not self.in_memory else 0
        return data.model_copy(update={"workers": workers})
