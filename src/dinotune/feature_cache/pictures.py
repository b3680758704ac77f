"""The data set of a cached training: views come from a store instead of from picture files."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch.utils.data import Dataset

from dinotune.data.batches import Batch
from dinotune.data.loader import Pictures
from dinotune.data.records import Records
from dinotune.data.sampler import Draw
from dinotune.feature_cache.store import Store, key_of
from dinotune.types import Cut, Targets


class CachedPictures(Dataset[Batch]):
    """A Batch of features and labels for a list of Draws; from the epoch `live_from` on, of pictures."""

    def __init__(self, records: Records, store: Store, live: Pictures, live_from: int | None = None) -> None:
        self._records, self._store, self._live = records, store, live
        self._live_from = live_from

    def __len__(self) -> int:
        return len(self._records)

    def __getitems__(self, draws: list[Draw]) -> Batch:
        if self._live_from is not None and draws[0].epoch >= self._live_from:
            return self._live.__getitems__(draws)
        keys = {draw: key_of(draw, self._records) for draw in draws}
        kept = {draw: key for draw, key in keys.items() if key in self._store}
        lost = [str(self._records.paths[draw.picture]) for draw in draws if draw not in kept]
        cut, targets = self._store.read([*kept.values()]) if kept else (None, Targets((), ()))
        return self._batch(draws[0], [draw.picture for draw in kept], cut, targets, lost)

    def _batch(self, first: Draw, rows: Sequence[int], cut: Cut | None, targets: Targets, lost: Sequence[str]) -> Batch:
        """What was read of the records' rows."""
        records = self._records
        classes = None if records.image_labels is None or not rows else torch.from_numpy(records.image_labels[rows])
        size = (first.height, first.width) if cut is None else (0, 0)
        return Batch(
            images=torch.empty(len(rows), 3, *size, dtype=torch.uint8),
            targets=replace(targets, classes=classes),
            image_ids=tuple(records.image_ids[rows].tolist()),
            paths=tuple(records.paths[rows].tolist()),
            picture_hw=tuple((height, width) for height, width in records.sizes_hw[rows].tolist()),
            corrupt=tuple(f"{path}: could not be read when features were computed" for path in lost),
            index=first.batch,
            epoch=first.epoch,
            view=first.view,
            cut=cut,
        )
