"""Store: the folder of a cache, its shards, and which views of which pictures they hold."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from dinotune.data.problems import counted
from dinotune.data.records import Records
from dinotune.data.sampler import Draw
from dinotune.errors import DataError, DinotuneError
from dinotune.feature_cache.identity import Identity
from dinotune.feature_cache.shards import Key, Packed, Seen, Shard, write_shard
from dinotune.feature_cache.watcher import Watcher
from dinotune.files import remove_unfinished, write_json

IDENTITY, LOCK = "identity.json", "lock"
PLAIN = -1
"""Number of the view of a picture as it is evaluated."""

PATIENCE = 0.5
"""Seconds between looks at a lock that another process holds."""


def key_of(draw: Draw, records: Records) -> Key:
    """What a draw shows."""
    return Key(int(records.image_ids[draw.picture]), PLAIN if draw.view is None else draw.view)


@dataclass
class Store:
    """Features of a split under one identity."""

    folder: Path
    identity: Identity
    shards: list[Shard] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What was found wrong and left out, a sentence each."""
    _places: dict[Key, tuple[Shard, int]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: Key) -> bool:
        return key in self._places

    def __getitem__(self, key: Key) -> Seen:
        shard, row = self._places[key]
        return shard[row]

    @property
    def keys(self) -> list[Key]:
        """All views that it holds, in order."""
        return sorted(self._places)

    @property
    def bytes(self) -> int:
        """Size on disk."""
        return sum(shard.path.stat().st_size for shard in self.shards)

    def open(self, records: Records) -> None:
        """Take up what lies in the folder.

        Views of pictures that are not there, or that have changed with their labels since, do not count. Files that
        are cut short are removed.

        Raises:
            DinotuneError: the folder holds features of something else.
        """
        self._check_identity()
        self.shards, self.notes, self._places = [], [], {}
        current = {int(image_id): row for row, image_id in enumerate(records.image_ids.tolist())}
        fresh: dict[tuple[int, str], bool] = {}
        stale: set[int] = set()
        for shard in self._whole_shards():
            used = False
            for row, (key, stamp) in enumerate(zip(shard.keys, shard.stamps, strict=True)):
                if key.image_id not in current:
                    continue
                name = (key.image_id, repr(stamp))
                if name not in fresh:
                    fresh[name] = stamp.holds(records[current[key.image_id]])
                if fresh[name]:
                    self._places[key] = (shard, row)
                    used = True
                else:
                    stale.add(key.image_id)
            if used:
                self.shards.append(shard)
        stale -= {key.image_id for key in self._places}
        if stale:
            self.notes.append(f"{counted(len(stale), 'picture')} changed since their features were kept")

    def missing(self, draws: Iterable[Draw], records: Records) -> list[Draw]:
        """The draws whose views it does not hold."""
        return [draw for draw in draws if key_of(draw, records) not in self._places]

    def add(self, views: list[Packed]) -> None:
        """Write views as a shard; OSError names the file."""
        shard = Shard.open(write_shard(self.folder, views))
        self.shards.append(shard)
        self._places |= {key: (shard, row) for row, key in enumerate(shard.keys)}

    def into_memory(self) -> None:
        """Hold all features in memory from here on."""
        for shard in self.shards:
            shard.into_memory()

    @contextmanager
    def locked(self, watcher: Watcher) -> Iterator[None]:
        """Keep other processes from filling the same folder; waits while one does. StoppedError by the watcher."""
        lock, waited = FileLock(self.folder / LOCK), False
        while not lock.is_locked:
            with suppress(Timeout):
                lock.acquire(timeout=PATIENCE)
                break
            if not waited:
                watcher.say(f"feature cache: another process computes these features; waiting for it ({self.folder})")
            waited = True
            watcher.check()
        try:
            yield
        finally:
            lock.release()

    def _whole_shards(self) -> Iterator[Shard]:
        for path in sorted(self.folder.glob("*.safetensors"), key=lambda path: path.stat().st_mtime_ns):
            try:
                yield Shard.open(path)
            except DataError as error:
                self.notes.append(f"removed {error}")
                path.unlink()

    def make_folder(self) -> None:
        """Make the folder, which can then be `locked`."""
        self.folder.mkdir(parents=True, exist_ok=True)

    def _check_identity(self) -> None:
        path = self.folder / IDENTITY
        if not path.is_file():
            write_json(path, self.identity.values)
            return
        found = _read(path)
        different = self.identity.differences(found)
        if different:
            raise DinotuneError(
                f"{self.folder}: holds features of something else (other {', '.join(different)}); "
                f"remove the folder, or name another one with feature_cache.folder"
            )

    def remove_unfinished(self) -> None:
        """Remove what a killed process left behind; only while the folder is `locked`."""
        remove_unfinished(self.folder)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
