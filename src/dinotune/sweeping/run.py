"""`dinotune sweep`: check everything, train one combination after the other, end in a table and a plot."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dinotune import config
from dinotune.data.splits import read_records
from dinotune.errors import SettingsError
from dinotune.starting.weights import find_weights
from dinotune.sweeping.child import Children, why_ended
from dinotune.sweeping.combinations import EXPERIMENT, Combination, Source, combine
from dinotune.sweeping.folder import SweepFolder
from dinotune.sweeping.grammar import Words, check_values, parse, split_values
from dinotune.sweeping.plot import draw
from dinotune.sweeping.results import Row, rows_of
from dinotune.sweeping.tables import print_table
from dinotune.training.data_check import check_before_training, require_labels
from dinotune.training.interrupts import InterruptedRunError

GOAL_MISSED = "FAIL:"
"""What a run says at its end that has everything but the score of `training.must_reach`."""


@dataclass(frozen=True)
class Sweep:
    """A sweep at its end."""

    folder: Path
    """Holds table.md, table.csv, sweep.json, plot.png and the runs."""
    rows: tuple[Row, ...]
    """A row per combination, seeds together."""

    @property
    def errors(self) -> list[str]:
        """What went wrong in any combination."""
        return [f"{row.label}: {error}" for row in self.rows for error in row.errors]


def sweep(
    experiment: Source | Sequence[Source],
    words: Sequence[str],
    *,
    modifiers: Sequence[str] = (),
    out: Path | str | None = None,
    minutes: float | None = None,
) -> Sweep:
    """Train every combination of the values that ``key=a,b,c`` words name, each in a process of its own.

    The same call with the same `out` goes on where it stopped; values that came to an axis are trained in addition.

    Args:
        experiment: Recipe, YAML file, folder of a data set or settings; several (in a list, or a text with commas)
            are compared as they are.
        words: ``key=a,b,c`` for what varies, ``key=value`` for what all have in common.
        modifiers: Names or files, merged over each experiment.
        out: Folder of the sweep; none takes a new one below runs/.
        minutes: Wall minutes of training for each combination, in the place of its epochs.

    Returns:
        The rows of the table. Combinations that failed are named in it; they do not keep the others from training.

    Raises:
        SettingsError: everything that is wrong with any combination, before the first one trains.
        DinotuneError: data or weights cannot be used.
        InterruptedRunError: Ctrl-C or SIGTERM; everything lies on disk.
    """
    sources = _sources(experiment)
    parsed = parse([*words, *([f"training.minutes={minutes:g}"] if minutes is not None else [])])
    if len(sources) < 2 and not parsed.axes:
        raise SettingsError("sweep: nothing to compare; give a setting several values, e.g. seed=0,1,2")
    combinations, notes = combine(sources, modifiers, parsed)
    for line in [*notes, *_check(combinations)]:
        print(line)
    folder = SweepFolder(Path(out) if out else None, _command(sources, modifiers, parsed), combinations)
    again = ["dinotune", "sweep", ",".join(sources), *modifiers, *words]
    again += [] if minutes is None else ["--minutes", f"{minutes:g}"]
    try:
        _train(folder, combinations, shlex.join([*again, "--out", str(folder.folder)]))
    finally:
        rows = rows_of(list(folder.runs.values()))
        draw(rows, folder.scores.best, folder.folder / "plot.png")
        print_table(rows, folder.scores)
        print(f"Table, plot and runs: {folder.folder}")
    return Sweep(folder.folder, tuple(rows))


def _train(folder: SweepFolder, combinations: Sequence[Combination], again: str) -> None:
    """Train what is not finished; InterruptedRunError where a signal came."""
    waiting = [one for one in combinations if folder.runs[one.name].status != "finished"]
    children = Children()
    with children.listening():
        for number, combination in enumerate(waiting, 1):
            print(f"\n{number} of {len(waiting)}: {combination.label}", flush=True)
            code, said = children.run(folder.command_for(combination.name))
            if children.stopped_by is not None and code != 0:
                break
            error = why_ended(code, said)
            folder.record(combination.name, error, finished=not error or error.startswith(GOAL_MISSED))
            if children.stopped_by is not None:
                break
    unfinished = [one for one in waiting if folder.runs[one.name].status != "finished"]
    if children.stopped_by is not None and unfinished:
        raise InterruptedRunError(children.stopped_by, f"stopped as asked; go on with: {again}")


def _sources(experiment: Source | Sequence[Source]) -> dict[str, Source]:
    """Experiments by name; a text with commas names several, unless it is a path that exists."""
    if isinstance(experiment, str) and not Path(experiment).expanduser().exists():
        experiment = split_values(experiment)
    given = [experiment] if isinstance(experiment, str | Path | config.Experiment) else list(experiment)
    names = [one.name if isinstance(one, config.Experiment) else str(one) for one in given]
    problems = check_values(EXPERIMENT, names)
    if problems:
        raise SettingsError("\n".join(problems))
    return dict(zip(names, given, strict=True))


def _command(sources: dict[str, Source], modifiers: Sequence[str], words: Words) -> dict[str, list[str]]:
    several = [EXPERIMENT] if len(sources) > 1 else []
    return {
        "experiments": [] if several else list(sources),
        "modifiers": list(modifiers),
        "settings": list(words.settings),
        "axes": [*several, *words.axes],
    }


def _check(combinations: Sequence[Combination]) -> list[str]:
    """Look for weights, read and check data: each of them once; a line per data set."""
    experiments = [combination.experiment for combination in combinations]
    for experiment in {(each.backbone.id, each.training.initialize_from): each for each in experiments}.values():
        find_weights(experiment)
    lines = []
    for experiment in {
        (each.data.model_dump_json(), each.evaluation.split, each.needs): each for each in experiments
    }.values():
        train = read_records(experiment.data, "train", seed=experiment.seed, needs=experiment.needs)
        require_labels(experiment, train)
        split = experiment.evaluation.split
        measured = read_records(
            experiment.data, split, seed=experiment.seed, labels=train.labels, needs=experiment.needs
        )
        require_labels(experiment, measured)
        lines.append(check_before_training(experiment, {"train": train, split: measured}))
    return lines
