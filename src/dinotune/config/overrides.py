"""Settings given one by one: ``key=value`` on the command line, ``DINOTUNE__SECTION__KEY`` in the environment."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic.fields import FieldInfo

from dinotune.config.experiment import Experiment
from dinotune.config.fields import field_options, find
from dinotune.config.merging import Merger, Tree
from dinotune.config.yaml_file import Layer
from dinotune.errors import SettingsError

PREFIX = "DINOTUNE__"


def command_layer(overrides: Sequence[str]) -> Layer:
    """Settings from ``key=value`` words; a later word wins.

    Raises:
        SettingsError: Words without ``=``, or values that are no YAML; all of them.
    """
    pairs, problems = [], []
    for word in overrides:
        key, equals, text = word.partition("=")
        if not equals or not key.strip():
            problems.append(f'"{word}": no setting; write key=value, e.g. training.epochs=10')
        else:
            pairs.append((tuple(key.strip().split(".")), text, ""))
    return _layer(pairs, problems)


def environment_layer(environ: Mapping[str, str]) -> tuple[Layer, list[str]]:
    """Settings from variables such as ``DINOTUNE__TRAINING__EPOCHS=3``, and a note on each.

    Raises:
        SettingsError: Values that are no YAML; all of them.
    """
    found = sorted((name, text) for name, text in environ.items() if name.startswith(PREFIX))
    pairs = [
        (tuple(name.removeprefix(PREFIX).lower().split("__")), text, f"environment variable {name}")
        for name, text in found
    ]
    notes = [f"{'.'.join(path)} = {text} (from the {place})" for path, text, place in pairs]
    return _layer(pairs, []), notes


def _layer(pairs: Sequence[tuple[tuple[str, ...], str, str]], problems: list[str]) -> Layer:
    tree: Tree = {}
    places: dict[tuple[str, ...], str] = {}
    merger = Merger(drop=False)
    for path, text, place in pairs:
        try:
            value = _parse(text, find(Experiment, path))
            tree = merger.merge(tree, _nested(path, value))
        except yaml.YAMLError:
            name = ".".join(path)
            problems.append(f"{name}: {text} is no YAML; quote it: {name}='\"{text}\"'{f' ({place})' if place else ''}")
        except SettingsError as error:
            problems.append(str(error))
        places[path] = place
    if problems:
        raise SettingsError("\n".join(problems))
    return Layer(tree, places)


def _nested(path: tuple[str, ...], value: Any) -> Tree:
    for key in reversed(path):
        value = {key: value}
    return value  # type: ignore[no-any-return]


def _parse(text: str, field: FieldInfo | None) -> Any:
    """A value as YAML reads it; texts and paths stay as they are (`name=007`, `data.root=2024`)."""
    types = {option.type for option in field_options(field)} if field else set()
    quoted = text[:1] in ("'", '"')
    empty = type(None) in types and text in ("null", "none")
    if types and types <= {str, Path, type(None)} and not quoted and not empty:
        return text
    return yaml.safe_load(text)
