"""`dinotune cache`: compute the features of an experiment beforehand, list the caches that there are, remove them."""

import json
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from dinotune import config
from dinotune.data.problems import counted
from dinotune.feature_cache.caches import fill_store
from dinotune.feature_cache.decision import with_mode
from dinotune.feature_cache.room import cache_root, gigabytes
from dinotune.feature_cache.store import IDENTITY
from dinotune.feature_cache.watcher import StoppedError
from dinotune.heap import freed_memory_kept
from dinotune.training.caching import ProgressWatcher, as_cached
from dinotune.training.interrupts import InterruptedRunError, StopRequest
from dinotune.training.preparation import prepare
from dinotune.training.progress import Progress


def fill(experiment: config.Experiment) -> list[Path]:
    """Compute the features of an experiment, whatever its `feature_cache.mode`; returns the folders.

    Raises:
        InterruptedRunError: Ctrl-C or SIGTERM; what was computed is kept.
        DinotuneError: anything the user can mend.
    """
    stop = StopRequest()
    with Progress(None) as progress, stop.listening():
        preparation = prepare(with_mode(experiment, "on"))
        for line in preparation.opening:
            progress.say(line)
        run, watcher = as_cached(preparation), ProgressWatcher(progress, stop)
        try:
            with freed_memory_kept(run.device):
                stores = [fill_store(run, watcher, training=training) for training in run.kinds]
        except StoppedError as error:
            assert stop.signal_number is not None
            message = f"{error}; those that are done are kept, and the same command goes on"
            raise InterruptedRunError(stop.signal_number, message) from None
        for store in stores:
            progress.say(f"{counted(len(store), 'view')}, {gigabytes(store.bytes)}: {store.folder}")
    return [store.folder for store in stores]


def delete(experiment: config.Experiment) -> list[Path]:
    """Remove the caches of an experiment, once no process fills them; returns their folders."""
    removed = []
    run = as_cached(prepare(with_mode(experiment, "off"), check=False)).limited
    with Progress(None) as progress:
        for store in (run.store(training=training) for training in run.kinds):
            if not store.folder.is_dir():
                continue
            size = gigabytes(store.bytes)
            store.remove(ProgressWatcher(progress, StopRequest()))
            progress.say(f"removed {size}: {store.folder}")
            removed.append(store.folder)
        if not removed:
            progress.say(f"nothing is kept of this experiment in {cache_root(experiment.feature_cache)}")
    return removed


@dataclass(frozen=True)
class Kept:
    """A cache on the disk."""

    folder: Path
    backbone: str
    data: str
    split: str
    bytes: int


def caches(root: Path) -> list[Kept]:
    """All caches in a folder, the largest first."""
    found = []
    for page in root.glob(f"*/{IDENTITY}"):
        try:
            values = json.loads(page.read_text(encoding="utf-8"))
            found.append(Kept(page.parent, values["backbone"], values["data"], values["split"], _size(page.parent)))
        except (OSError, ValueError, KeyError):
            found.append(Kept(page.parent, "unreadable", "", "", _size(page.parent)))
    return sorted(found, key=lambda kept: -kept.bytes)


def print_caches(settings: config.FeatureCache) -> None:
    """A table of all caches."""
    root = cache_root(settings)
    kept = caches(root)
    if not kept:
        print(f"no caches in {root}")
        return
    table = Table("folder", "backbone", "data", "split", "size")
    for cache in kept:
        table.add_row(cache.folder.name, cache.backbone, cache.data, cache.split, gigabytes(cache.bytes))
    Console().print(table)
    print(f"{gigabytes(sum(cache.bytes for cache in kept))} in {root}")


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
