"""Store: the folder of a cache, its shards, and which views of which pictures they hold."""

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
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
from dinotune.feature_cache.shards import Key, Packed, Shard, unpack_views, write_shard
from dinotune.feature_cache.stamps import Stamp
from dinotune.feature_cache.watcher import Watcher
from dinotune.files import remove_unfinished, write_json
from dinotune.types import Cut, Targets

IDENTITY, SHARDS = "identity.json", "*.safetensors"
PLAIN = -1
"""Number of the view of a picture as it is evaluated."""

PATIENCE = 0.5
"""Seconds between looks at a lock that another process holds."""


def key_of(draw: Draw, records: Records) -> Key:
    """What a draw shows."""
    return Key(int(records.image_ids[draw.picture]), PLAIN if draw.view is None else draw.view)


class Freshness:
    """Whether kept views still show the pictures and labels of some records."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._rows = records.rows
        self._known: dict[tuple[int, Stamp], bool] = {}

    def of(self, key: Key, stamp: Stamp) -> bool | None:
        """True, or false where something has changed; none for a picture that is not among the records."""
        row = self._rows.get(key.image_id)
        if row is None:
            return None
        known = (key.image_id, stamp)
        if known not in self._known:
            self._known[known] = stamp.holds(self._records[row])
        return self._known[known]


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

    def read(self, keys: Sequence[Key]) -> tuple[Cut, Targets]:
        """Features and labels of views of one network size, as a batch; without the pictures' own classes."""
        places = [self._places[key] for key in keys]
        shard, _ = places[0]
        return unpack_views([shard[row] for shard, row in places], shard.image_hw, shard.alias)

    @property
    def keys(self) -> list[Key]:
        """All views that it holds, in order."""
        return sorted(self._places)

    @property
    def bytes(self) -> int:
        """Size on disk, with that of views that are not used now."""
        return sum(path.stat().st_size for path in self.folder.glob(SHARDS))

    def open(self, records: Records, *, tidy: bool = True) -> None:
        """Take up what lies in the folder.

        Views of pictures that are not there, or that have changed with their labels since, do not count. With `tidy`,
        which needs the store to be `locked`, files that are cut short, or hold nothing but changed pictures, are removed.

        Raises:
            DinotuneError: the folder holds features of something else.
        """
        self._check_identity()
        self.shards, self.notes, self._places = [], [], {}
        freshness, changed = Freshness(records), set[int]()
        for shard in self._whole_shards(tidy=tidy):
            found = [freshness.of(key, stamp) for key, stamp in zip(shard.keys, shard.stamps, strict=True)]
            changed |= {key.image_id for key, fresh in zip(shard.keys, found, strict=True) if fresh is False}
            self._places |= {key: (shard, row) for row, key in enumerate(shard.keys) if found[row]}
            if any(found):
                self.shards.append(shard)
            elif tidy and all(fresh is False for fresh in found):
                shard.path.unlink()
        changed -= {key.image_id for key in self._places}
        if changed:
            self.notes.append(f"{counted(len(changed), 'picture')} changed since their features were kept")

    def remove(self, watcher: Watcher) -> None:
        """Remove the folder, once no process fills it."""
        with self.locked(watcher):
            shutil.rmtree(self.folder)
        self._lock_file.unlink(missing_ok=True)

    @property
    def _lock_file(self) -> Path:
        """Beside the folder, which can then be removed while it is locked."""
        return self.folder.with_name(f"{self.folder.name}.lock")

    def missing(self, draws: Iterable[Draw], records: Records) -> list[Draw]:
        """The draws whose views it does not hold."""
        return [draw for draw in draws if key_of(draw, records) not in self._places]

    def add(self, views: list[Packed]) -> None:
        """Write views as a shard; OSError names the file."""
        shard = Shard.open(write_shard(self.folder, views))
        self.shards.append(shard)
        self._places |= {key: (shard, row) for row, key in enumerate(shard.keys)}

    def hold(self, *, in_memory: bool) -> None:
        """Hold all features from here on, whoever removes their files: in memory, or mapped."""
        for shard in self.shards:
            if in_memory:
                shard.into_memory()
            else:
                shard.map()

    @contextmanager
    def locked(self, watcher: Watcher) -> Iterator[None]:
        """Keep other processes from filling the same folder; waits while one does. StoppedError by the watcher."""
        lock, waited = FileLock(self._lock_file), False
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

    def _whole_shards(self, *, tidy: bool) -> Iterator[Shard]:
        for path in sorted(self.folder.glob(SHARDS), key=lambda path: path.stat().st_mtime_ns):
            try:
                yield Shard.open(path)
            except DataError as error:
                if tidy:
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
