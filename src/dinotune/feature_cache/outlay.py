"""What a cache takes and saves, reckoned before anything is computed; what is kept already costs nothing."""

import math
from functools import cached_property

import torch

from dinotune.data.sampler import Draw
from dinotune.errors import DinotuneError
from dinotune.feature_cache.codec import pack
from dinotune.feature_cache.room import check_room
from dinotune.feature_cache.run import CachedRun


class Outlay:
    """Views that a run must compute, and the room that they take."""

    def __init__(self, run: CachedRun) -> None:
        self.run = run

    @property
    def gain(self) -> float:
        """Pictures that go through the frozen part without a cache, as a multiple of those that still do with one."""
        training = self.run.experiment.training
        epochs = self.run.live_from or training.epochs
        evaluations = math.ceil(epochs / training.validate_every)
        seen = epochs * len(self.run.train)
        seen += evaluations * len(self.run.measured) if False in self.run.kinds else 0
        return seen / max(1, sum(map(len, self._missing.values())))

    def check_room(self) -> None:
        """Refuse what has no room, or more than is allowed: SettingsError or DinotuneError, as `room.check_room`."""
        for training, missing in self._missing.items():
            store, records = self.run.store(training=training), self.run.records(training=training)
            if missing:
                size = sum(draw.height * draw.width for draw in missing) * self._bytes_per_pixel
                check_room(size, store.bytes, store.folder, self.run.experiment.feature_cache, records.name)

    @cached_property
    def _missing(self) -> dict[bool, list[Draw]]:
        """Views to compute of the training pictures and of the measured ones."""
        found = {}
        for training in self.run.kinds:
            store, draws = self.run.store(training=training), self.run.draws(training=training)
            records = self.run.records(training=training)
            if store.folder.is_dir():
                try:
                    store.open(records, tidy=False)
                except DinotuneError:
                    found[training] = draws  # filling it will say what is wrong
                    continue
            found[training] = store.missing(draws, records)
        return found

    @cached_property
    def _bytes_per_pixel(self) -> float:
        """Room that features take per pixel of the network input, from those of an empty picture."""
        model, settings = self.run.model, self.run.experiment.feature_cache
        draw = next(draw for missing in self._missing.values() for draw in missing)
        device = next(model.parameters()).device
        with torch.no_grad():
            cut = model.backbone.frozen_part(torch.zeros(1, 3, draw.height, draw.width, device=device))
        packed = pack(cut.distinct, settings.storage, model.backbone.prefix_tokens)
        return sum(tensor.nbytes for tensor in packed.values()) / (draw.height * draw.width)
