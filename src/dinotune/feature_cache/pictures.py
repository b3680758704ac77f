"""The data set of a cached training: views come from a store instead of from picture files."""

from torch.utils.data import Dataset

from dinotune.data.loader import Pictures, Sample
from dinotune.data.records import Records
from dinotune.data.sampler import Draw
from dinotune.feature_cache.store import Store, key_of


class CachedPictures(Dataset[Sample]):
    """Features and labels of a view per Draw; from the epoch `live_from` on, pictures."""

    def __init__(self, records: Records, store: Store, live: Pictures, live_from: int | None = None) -> None:
        self._records, self._store, self._live = records, store, live
        self._live_from = live_from

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, draw: Draw) -> Sample:
        if self._live_from is not None and draw.epoch >= self._live_from:
            return self._live[draw]
        record, key = self._records[draw.picture], key_of(draw, self._records)
        if key not in self._store:
            return Sample.unread(draw, record, f"{record.path}: could not be read when features were computed")
        seen = self._store[key]
        return Sample(draw, record, None, seen.boxes, seen.labels, seen.class_map, seen.masks, cut=seen.cut)
