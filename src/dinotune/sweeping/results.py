"""What each run of a sweep reached and cost, read from its folder, and rows of runs that differ in the seed alone."""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

from dinotune.config.tasks import Scores
from dinotune.sweeping.combinations import label

Status = Literal["waiting", "finished", "failed"]


@dataclass(frozen=True)
class Point:
    """One evaluation during training."""

    epoch: int
    """Epochs done."""
    minutes: float
    """Minutes of training and evaluation so far."""
    score: float


@dataclass(frozen=True)
class Result:
    """What a finished run reached and cost."""

    scores: dict[str, float | None]
    """Of the best evaluation, first the score that chooses it; none where there was nothing to measure."""
    best_epoch: int | None
    """Epochs done at that evaluation."""
    epochs: int
    minutes: float
    """Training with its evaluations."""
    memory_gb: float
    """Highest memory in GiB: of the GPU, or of the process on a CPU."""
    learning_parameters: dict[str, int]
    """Of `backbone`, `adapter` and `head`."""
    device: str
    curve: tuple[Point, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values, without the curve, which `metrics.csv` of the run holds."""
        values = dict(vars(self))
        del values["curve"]
        return values


def read_result(run: Path, scores: Scores) -> Result:
    """The result of a finished run's folder, by the scores of its task."""
    page = run / "metrics.json"
    best = json.loads(page.read_text(encoding="utf-8")) if page.is_file() else {}
    environment = json.loads((run / "environment.json").read_text(encoding="utf-8"))[-1]
    logged = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    epochs = [line for line in map(json.loads, logged) if line["kind"] == "epoch"]
    minutes = list(accumulate(line["seconds"] / 60 for line in epochs))
    return Result(
        scores={name: best.get(name) for name in scores.table},
        best_epoch=best["epoch"] + 1 if best else None,
        epochs=len(epochs),
        minutes=minutes[-1],
        memory_gb=max(line["memory_gb"] for line in epochs),
        learning_parameters=environment["learning_parameters"],
        device=environment["gpu"] or environment["device"],
        curve=tuple(
            Point(line["epoch"] + 1, time, line[scores.best])
            for line, time in zip(epochs, minutes, strict=True)
            if line.get(scores.best) is not None
        ),
    )


@dataclass(frozen=True)
class Run:
    """One training of a sweep, as far as it has come."""

    values: Mapping[str, str]
    """Axis to value, as written."""
    name: str
    """Of its folder."""
    status: Status = "waiting"
    error: str = ""
    """Why it failed, or missed `training.must_reach`."""
    result: Result | None = None
    """Of a finished run."""


@dataclass(frozen=True)
class Spread:
    """A number over seeds."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Arithmetic mean."""
        return statistics.fmean(self.values)

    @property
    def std(self) -> float | None:
        """Sample standard deviation, from two values on."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    def overlaps(self, other: "Spread") -> bool:
        """Whether the ranges from lowest to highest have a value in common."""
        return min(self.values) <= max(other.values) and min(other.values) <= max(self.values)


@dataclass(frozen=True)
class Row:
    """A combination over its seeds."""

    label: str
    results: tuple[Result, ...]
    """Of the finished runs."""
    errors: tuple[str, ...]
    runs: int
    """All runs, those that failed or wait too."""

    def score(self, name: str) -> Spread | None:
        """A score over seeds; none where nothing was measured."""
        return _spread(result.scores[name] for result in self.results)

    @property
    def minutes(self) -> Spread | None:
        """Minutes of training over seeds."""
        return _spread(result.minutes for result in self.results)


def change_from(first: Row, row: Row, score: str) -> float | None:
    """Change of a mean score from the first row; none where there is nothing to compare."""
    here, there = row.score(score), first.score(score)
    return None if row is first or here is None or there is None else here.mean - there.mean


def ranges_overlap(first: Row, row: Row, score: str) -> bool | None:
    """Whether the ranges of a score overlap; none for the first row, and with fewer than two seeds."""
    here, there = row.score(score), first.score(score)
    if row is first or here is None or there is None or min(len(here.values), len(there.values)) < 2:
        return None
    return here.overlaps(there)


def _spread(values: Iterable[float | None]) -> Spread | None:
    known = tuple(value for value in values if value is not None)
    return Spread(known) if known else None


def rows_of(runs: Sequence[Run]) -> list[Row]:
    """Runs that differ in the seed alone, together; in the order in which they come."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(label(run.values, seed=False), []).append(run)
    return [
        Row(
            name,
            tuple(run.result for run in group if run.result is not None),
            tuple(dict.fromkeys(run.error for run in group if run.error)),
            len(group),
        )
        for name, group in groups.items()
    ]
