"""A run whose features may be kept: what it sees, and where that is kept."""

from dataclasses import dataclass, replace
from functools import cached_property

import torch

from dinotune import config
from dinotune.data.fixed_views import usual_views
from dinotune.data.records import Records
from dinotune.data.sampler import Draw, EvaluationBatchSampler, every_view
from dinotune.device import Precision
from dinotune.feature_cache.identity import frozen_weights, identity_of
from dinotune.feature_cache.room import cache_root
from dinotune.feature_cache.store import Store
from dinotune.model import Model


@dataclass(frozen=True)
class CachedRun:
    """Model, settings and pictures of a run. Its features are those of the training views, and of the measured pictures."""

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

    def records(self, *, training: bool) -> Records:
        """The training pictures, or the measured ones."""
        return self.train if training else self.measured

    def draws(self, *, training: bool) -> list[Draw]:
        """Every view of every picture."""
        data, multiple = self.experiment.data, self.model.size_multiple
        if training:
            return every_view(self.train, data, multiple=multiple, seed=self.experiment.seed)
        batches = EvaluationBatchSampler(self.measured, data, batch_size=len(self.measured), multiple=multiple)
        return [draw for batch in batches for draw in batch]

    def store(self, *, training: bool) -> Store:
        """The store of the training views, or of the measured pictures; not yet open."""
        split = "train" if training else self.experiment.evaluation.split
        identity = identity_of(
            self.model,
            self.experiment,
            self.precision,
            split,
            training=training,
            weights=self._weights,
            classes=self.train.labels.names,
        )
        return Store(identity.folder(cache_root(self.experiment.feature_cache)), identity)

    @cached_property
    def _weights(self) -> str:
        return frozen_weights(self.model.backbone)

    @property
    def views(self) -> int:
        """In how many views each training picture is seen: `augmentation.views`, or as many as are usual."""
        augmentation = self.experiment.data.augmentation
        return augmentation.views or usual_views(augmentation)

    @property
    def limited(self) -> "CachedRun":
        """The same run, limited to its `views`."""
        augmentation = self.experiment.data.augmentation.model_copy(update={"views": self.views})
        data = self.experiment.data.model_copy(update={"augmentation": augmentation})
        return replace(self, experiment=self.experiment.model_copy(update={"data": data}))

    @cached_property
    def live_from(self) -> int | None:
        """The epoch from which on a stage of `backbone.trainable` moves the cut, so that features end; none for never."""
        backbone, epochs = self.model.backbone, self.experiment.training.epochs
        backbone.set_epoch(0)
        place, found = backbone.cut_place, None
        for epoch in sorted({stage.from_epoch for stage in self.experiment.backbone.trainable}):
            backbone.set_epoch(epoch)
            if backbone.cut_place != place and epoch < epochs:
                found = epoch
                break
        backbone.set_epoch(0)
        return found
