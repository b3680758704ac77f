"""The loaders of a run: of pictures, or of kept features while those hold."""

from functools import cached_property

from torch.utils.data import DataLoader

from dinotune.data.batches import Batch
from dinotune.data.loader import end_workers, evaluation_loader, training_loader
from dinotune.feature_cache.caches import FeatureCaches
from dinotune.training.preparation import Preparation


class RunLoaders:
    """Training batches of a preparation, and batches of its measured pictures."""

    def __init__(self, preparation: Preparation, caches: FeatureCaches | None) -> None:
        self._preparation = preparation
        self._caches = caches
        self._pictures = self._measured_pictures()

    def training(self) -> DataLoader[Batch]:
        """Training batches; its sampler says of which epoch."""
        if self._caches is not None:
            return self._caches.training_loader()
        experiment = self._preparation.experiment
        return training_loader(
            self._preparation.train,
            experiment.data,
            batch_size=experiment.training.pictures_per_step,
            multiple=self._preparation.model.size_multiple,
            seed=experiment.seed,
            device_type=self._preparation.device.type,
        )

    @property
    def measured(self) -> DataLoader[Batch]:
        """The measured pictures as the model takes them now."""
        features = self._features if self._caches is not None and self._caches.holds() else None
        return self._pictures if features is None else features

    def end(self) -> None:
        """End the processes that bring measured pictures."""
        for loader in (self._pictures, self._features):
            if loader is not None:
                end_workers(loader)

    @cached_property
    def _features(self) -> DataLoader[Batch] | None:
        return None if self._caches is None else self._caches.evaluation_loader()

    def _measured_pictures(self) -> DataLoader[Batch]:
        experiment = self._preparation.experiment
        return evaluation_loader(
            self._preparation.measured,
            experiment.data,
            batch_size=experiment.evaluation.batch_size or experiment.training.pictures_per_step,
            multiple=self._preparation.model.size_multiple,
            device_type=self._preparation.device.type,
        )
