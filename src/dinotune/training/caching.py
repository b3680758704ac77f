"""The feature cache of a run: filled before training, watched by the run's progress."""

import torch

from dinotune.feature_cache.caches import FeatureCaches
from dinotune.feature_cache.run import CachedRun
from dinotune.feature_cache.watcher import StoppedError
from dinotune.training.interrupts import InterruptedRunError, StopRequest
from dinotune.training.memory import can_measure, free_bytes
from dinotune.training.preparation import Preparation
from dinotune.training.progress import Progress


class ProgressWatcher:
    """Shows on a run's progress what the cache does, and stops it where a signal asks for that."""

    def __init__(self, progress: Progress, stop: StopRequest) -> None:
        self._progress = progress
        self._stop = stop

    def say(self, line: str) -> None:
        """On the terminal and in the log."""
        self._progress.say(line)

    def start(self, description: str, batches: int) -> None:
        """A plain bar."""
        self._progress.start(description, batches)

    def advance(self) -> None:
        """Move the bar."""
        self._progress.advance()

    def check(self) -> None:
        """StoppedError after Ctrl-C or SIGTERM."""
        if self._stop.signal_number is not None:
            raise StoppedError("stopped while computing features")


def as_cached(preparation: Preparation) -> CachedRun:
    """What of a preparation the cache wants to know; moves the model to its device."""
    return CachedRun(
        preparation.model.to(preparation.device),
        preparation.experiment,
        preparation.train,
        preparation.measured,
        preparation.device,
        preparation.precision,
    )


def open_caches(
    preparation: Preparation, progress: Progress, stop: StopRequest, *, epoch: int, again: str
) -> FeatureCaches | None:
    """The caches of a run, filled; none where `feature_cache.mode` is off.

    Args:
        preparation: Its model holds the weights with which training goes on.
        progress: Shows what is done.
        stop: Stops it.
        epoch: The first that is trained; none of its features are kept if more learns by then.
        again: The command that goes on after a stop.

    Raises:
        InterruptedRunError: Ctrl-C or SIGTERM; what was computed is kept.
        DinotuneError: a folder holds something else, or there is no room.
    """
    experiment = preparation.experiment
    if experiment.feature_cache.mode != "on":
        return None
    run = as_cached(preparation)
    if run.live_from is not None and epoch >= run.live_from:
        return None
    cpu = torch.device("cpu")
    free = free_bytes(cpu) if can_measure(cpu) else 0
    try:
        return FeatureCaches(run, ProgressWatcher(progress, stop), free)
    except StoppedError as error:
        assert stop.signal_number is not None
        message = f"{error}; those that are done are kept. Go on with: {again}"
        raise InterruptedRunError(stop.signal_number, message) from None
