"""Recipe or file, modifiers, environment and key=value -> Experiment, or an error that helps.

Later sources win. Everything wrong is reported at once.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from dinotune.config.experiment import Experiment
from dinotune.config.merging import Merger, Tree
from dinotune.config.overrides import command_layer, environment_layer
from dinotune.config.problems import explain
from dinotune.config.recipes import experiment_layers, modifier_layer
from dinotune.config.written import dump_experiment
from dinotune.config.yaml_file import Layer
from dinotune.errors import SettingsError

__all__ = ["Loaded", "dump_experiment", "load_experiment"]

T = TypeVar("T")


@dataclass(frozen=True)
class Loaded:
    """An experiment, and what a user should know about how it came about (drops, environment variables)."""

    experiment: Experiment
    notes: tuple[str, ...]
    unmodified: Experiment | None = None
    """The same without modifiers, where there are any and it is an experiment without them too."""


def load_experiment(
    source: str | Path | Experiment | Mapping[str, Any],
    modifiers: Sequence[str] = (),
    overrides: Sequence[str] = (),
    environ: Mapping[str, str] = os.environ,
    *,
    fit: bool = False,
) -> Loaded:
    """Read, merge and check the settings of a run.

    Args:
        source: Name of a recipe that comes with the package, a YAML file (which may start from a recipe: `base: NAME`),
            what such a file holds, or an experiment to change.
        modifiers: Names or files, merged over the experiment in this order.
        overrides: ``key=value`` words, the strongest of all.
        environ: Where variables such as ``DINOTUNE__TRAINING__EPOCHS=3`` are looked up.
        fit: Leave out overrides that belong to other kinds than the one chosen, as for modifiers, and say so.

    Raises:
        SettingsError: Everything that is wrong, a line each: place, wrong value, nearest right one.
    """
    problems: list[str] = []
    experiment = _attempt(lambda: _first_layers(source), problems)
    changes = [_attempt(lambda name=name: modifier_layer(name), problems) for name in modifiers]  # type: ignore[misc]
    environment, notes, unread = environment_layer(environ)
    commands, unreadable = command_layer(overrides)
    problems += unread + unreadable
    last = [environment, replace(commands, is_modifier=fit)]
    loaded = unmodified = None
    if experiment is not None:
        changed = [layer for layer in changes if layer is not None]
        loaded = _attempt(lambda: _checked([*experiment, *changed, *last], notes), problems)
        unmodified = _attempt(lambda: _checked([*experiment, *last], ()), []) if changes else None
    if loaded is None or problems:
        raise SettingsError("\n".join(problems))
    return replace(loaded, unmodified=unmodified.experiment if unmodified else None)


def _first_layers(source: str | Path | Experiment | Mapping[str, Any]) -> list[Layer]:
    if isinstance(source, Experiment):
        return [Layer(source.model_dump(), {})]
    if isinstance(source, Mapping):
        own = Layer({key: value for key, value in source.items() if key != "base"}, {})
        return [*(experiment_layers(source["base"]) if "base" in source else ()), own]
    return experiment_layers(source)


def _checked(layers: Sequence[Layer], notes: Sequence[str]) -> Loaded:
    plain, fitting = Merger(), Merger(fit=True)
    tree: Tree = {}
    for layer in layers:
        tree = (fitting if layer.is_modifier else plain).merge(tree, layer.tree)
    try:
        experiment = Experiment.model_validate(tree)
    except ValidationError as error:
        raise SettingsError("\n".join(explain(error, tree, _place_finder(layers)))) from error
    return Loaded(experiment, (*notes, *plain.notes, *fitting.notes))


def _place_finder(layers: Sequence[Layer]) -> Callable[[Sequence[str | int]], str]:
    """The last layer that wrote a key, something below it or, as a whole, the section above it; else that section's."""

    def place_of(path: Sequence[str | int]) -> str:
        written = tuple(str(part) for part in path)
        unnumbered = tuple(part for part in path if isinstance(part, str))
        above = [words[:length] for words in (written, unnumbered) for length in range(len(words) - 1, 0, -1)]
        for layer in reversed(layers):
            whole = [key for key in above if key in layer.places and not _inner(layer, key)]
            for key in (written, unnumbered, *_inner(layer, written), *whole):
                if key in layer.places:
                    return layer.places[key]
        return next((layer.places[key] for key in above for layer in reversed(layers) if key in layer.places), "")

    return place_of


def _inner(layer: Layer, key: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Keys below a key."""
    return [other for other in layer.places if len(other) > len(key) and other[: len(key)] == key]


def _attempt(action: Callable[[], T], problems: list[str]) -> T | None:
    try:
        return action()
    except SettingsError as error:
        problems.append(str(error))
        return None
