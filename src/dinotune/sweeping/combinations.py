"""Every combination that a sweep names, as a checked experiment; all that is wrong with any is said at once."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from dinotune import config
from dinotune.config.loading import Loaded, load_experiment
from dinotune.config.recipes import RECIPES, names
from dinotune.errors import SettingsError
from dinotune.starting.page import tree
from dinotune.starting.suggestion import suggest
from dinotune.sweeping.grammar import Words
from dinotune.training.run_folder import with_absolute_paths

EXPERIMENT, SEED = "experiment", "seed"
"""Axis of several experiments; axis whose values are put together in the table."""

LONGEST = 40
"""Characters of a value in a folder's name."""

Source = str | Path | config.Experiment


@dataclass(frozen=True)
class Combination:
    """One training of a sweep."""

    values: Mapping[str, str]
    """Axis to value, as written."""
    experiment: config.Experiment
    """Its settings, paths absolute."""

    @property
    def label(self) -> str:
        """`adapter=lora seed=0`."""
        return label(self.values)

    @property
    def name(self) -> str:
        """Name of its folder, without `=`, which would make a setting of it on the command line."""
        return ",".join(f"{key.rpartition('.')[2]}-{_safe(value)}" for key, value in self.values.items())


def label(values: Mapping[str, str], *, seed: bool = True) -> str:
    """What sets a combination apart, as written on the command line; `all` where only seeds do."""
    shown = {key: value for key, value in values.items() if seed or key != SEED}
    return " ".join(value if key == EXPERIMENT else f"{key}={value}" for key, value in shown.items()) or "all"


def combine(
    sources: Mapping[str, Source], modifiers: Sequence[str], words: Words
) -> tuple[list[Combination], list[str]]:
    """Every combination, those with the first seed first, and notes on how they came about.

    A setting of all that belongs to other kinds (of head, of adapter) than a combination's is left out there.

    Args:
        sources: Experiments by the name they have in the table.
        modifiers: Names or files, merged over each experiment.
        words: Axes and settings.

    Raises:
        SettingsError: everything that is wrong, with the combinations it is wrong in.
    """
    starts = {name: _start(source) for name, source in sources.items()}
    experiments = {EXPERIMENT: tuple(sources)} if len(sources) > 1 else {}
    problems, notes = _Said(), _Said()
    combinations: list[Combination] = []
    failed = 0
    strangers = dict.fromkeys(words.settings, "")
    for values in _product(experiments | words.axes):
        start = starts[values.get(EXPERIMENT, next(iter(starts)))]
        chosen = [f"{key}={value}" for key, value in values.items() if key != EXPERIMENT]
        try:
            loaded, foreign = _load(start, modifiers, chosen, words.settings)
        except SettingsError as error:
            failed += 1
            for problem in re.split(r"\n(?! )", str(error)):  # what belongs to a problem is indented
                problems.add(problem, label(values))
            continue
        strangers = {word: foreign[word] for word in strangers if word in foreign}
        combinations.append(Combination(values, with_absolute_paths(loaded.experiment)))
        for note in loaded.notes:
            notes.add(note, label(values))
    total = len(combinations) + failed
    lines = problems.lines(total) or list(strangers.values()) or _equal(combinations)
    if lines:
        raise SettingsError("\n".join(lines))
    return combinations, notes.lines(total)


class _Said:
    """Messages with the combinations that they concern."""

    def __init__(self) -> None:
        self._by_message: dict[str, list[str]] = {}

    def add(self, message: str, where: str) -> None:
        self._by_message.setdefault(message, []).append(where)

    def lines(self, total: int) -> list[str]:
        """A message that concerns all combinations stands alone."""
        return [
            message if len(where) == total else f"{'; '.join(where)}:\n  {message}"
            for message, where in self._by_message.items()
        ]


def _product(axes: Mapping[str, Sequence[str]]) -> Iterable[dict[str, str]]:
    """Seeds change last, so that a sweep that is stopped has seen as many different combinations as it can."""
    order = sorted(axes, key=lambda key: key != SEED)
    for values in product(*(axes[key] for key in order)):
        found = dict(zip(order, values, strict=True))
        yield {key: found[key] for key in axes}


def _start(source: Source) -> Source | dict[str, Any]:
    """What `load_experiment` takes; for the folder of a data set, looked at once, the settings that suit it."""
    if isinstance(source, config.Experiment) or source in names(RECIPES):
        return source
    path = Path(source).expanduser()
    if path.is_dir() and not (path / "experiment.yaml").is_file():
        return tree(suggest(path).choices)
    return source


def _load(
    start: Source | dict[str, Any], modifiers: Sequence[str], chosen: Sequence[str], settings: Sequence[str]
) -> tuple[Loaded, dict[str, str]]:
    """The experiment, and those of `settings` that belong to other kinds than its own, with what is wrong with them."""
    try:
        return load_experiment(start, modifiers, [*chosen, *settings]), {}
    except SettingsError:
        loaded = load_experiment(start, modifiers, [*chosen, *settings], fit=True)
    foreign = {}
    for word in settings:
        try:
            load_experiment(start, modifiers, [*chosen, word])
        except SettingsError as error:
            foreign[word] = str(error)
    return loaded, foreign


def _equal(combinations: Sequence[Combination]) -> list[str]:
    """Combinations that an axis leaves as they are."""
    pages: dict[str, Combination] = {}
    problems = []
    for combination in combinations:
        page = combination.experiment.model_dump_json()
        if page in pages:
            problems.append(
                f"{pages[page].label}; {combination.label}: the same training twice; sweep over that setting only "
                "where it counts"
            )
        pages[page] = combination
    return problems


def _safe(value: str) -> str:
    safe = re.sub(r"[^A-Za-z0-9._+-]+", "_", value).strip("_")[:LONGEST]
    return safe if safe == value else f"{safe}-{hashlib.sha1(value.encode()).hexdigest()[:6]}"
