"""Views on their way into shards."""

from collections import Counter
from collections.abc import Iterable

from dinotune.feature_cache.shards import Packed
from dinotune.feature_cache.store import Store
from dinotune.feature_cache.watcher import StoppedError

SHARD_BYTES = 64_000_000
"""A shard is written once so much waits for it; a killed process loses no more work."""


class Gathered:
    """Keeps views by network size until there are enough of them for a shard."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: dict[tuple[int, int], list[Packed]] = {}
        self._sizes: Counter[tuple[int, int]] = Counter()

    def take(self, batches: Iterable[list[Packed]]) -> None:
        """Write all views, also those before a stop. OSError where writing fails."""
        try:
            for views in batches:
                self._add(views)
        except (StoppedError, KeyboardInterrupt):
            self._finish()
            raise
        self._finish()

    def _add(self, views: list[Packed]) -> None:
        """The largest group is written once enough wait."""
        for view in views:
            self._waiting.setdefault(view.image_hw, []).append(view)
            self._sizes[view.image_hw] += view.bytes
        if self._sizes.total() >= SHARD_BYTES:
            self._write(max(self._sizes, key=lambda hw: self._sizes[hw]))

    def _finish(self) -> None:
        for image_hw in list(self._waiting):
            self._write(image_hw)

    def _write(self, image_hw: tuple[int, int]) -> None:
        del self._sizes[image_hw]
        self._store.add(self._waiting.pop(image_hw))
