"""Settings given one by one: ``key=value`` on the command line, ``DINOTUNE__SECTION__KEY`` in the environment."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic.fields import FieldInfo

from dinotune.config.experiment import Experiment
from dinotune.config.fields import field_options, find, sections
from dinotune.config.merging import Merger, Tree
from dinotune.config.yaml_file import Layer, read_yaml
from dinotune.errors import SettingsError

PREFIX = "DINOTUNE__"


def command_layer(overrides: Sequence[str]) -> tuple[Layer, list[str]]:
    """Settings from ``key=value`` words, of which a later one wins; and what is wrong with the rest.

    Wrong are words without ``=`` and values that are no YAML.
    """
    pairs, problems = [], []
    for word in overrides:
        key, equals, text = word.partition("=")
        if not equals or not key.strip():
            problems.append(f'"{word}": no setting; write key=value, e.g. training.epochs=10')
        else:
            pairs.append((tuple(key.strip().split(".")), text, ""))
    layer, unread = _layer(pairs)
    return layer, problems + unread


def environment_layer(environ: Mapping[str, str]) -> tuple[Layer, list[str], list[str]]:
    """Settings from variables such as ``DINOTUNE__TRAINING__EPOCHS=3``, a note on each, and values that are no YAML."""
    found = sorted((name, text) for name, text in environ.items() if name.startswith(PREFIX))
    pairs = [
        (tuple(name.removeprefix(PREFIX).lower().split("__")), text, f"environment variable {name}")
        for name, text in found
    ]
    notes = [f"{'.'.join(path)} = {text} (from the {place})" for path, text, place in pairs]
    layer, unread = _layer(pairs)
    return layer, notes, unread


def _layer(pairs: Sequence[tuple[tuple[str, ...], str, str]]) -> tuple[Layer, list[str]]:
    tree: Tree = {}
    problems: list[str] = []
    places: dict[tuple[str, ...], str] = {}
    merger = Merger(drop=False)
    for path, text, place in pairs:
        try:
            value = _parse(text, find(Experiment, path))
            tree = merger.merge(tree, _nested(path, value))
        except (yaml.YAMLError, ValueError):  # ValueError: a date that does not exist
            name = ".".join(path)
            problems.append(f"{name}: {text} is no YAML; quote it: {name}='\"{text}\"'{f' ({place})' if place else ''}")
        except SettingsError as error:
            problems.append(str(error))
        else:
            places[path] = place
    return Layer(tree, places), problems


def _nested(path: tuple[str, ...], value: Any) -> Tree:
    for key in reversed(path):
        value = {key: value}
    return value  # type: ignore[no-any-return]


def _parse(text: str, field: FieldInfo | None) -> Any:
    """A value as YAML reads it; texts and paths stay as they are (`name=007`, `data.root=2024`, `data=2024`)."""
    types = {option.type for option in field_options(field)} if field else set()
    quoted = text[:1] in ("'", '"')
    empty = type(None) in types and text in ("null", "none")
    if types and types <= {str, Path, type(None)} and not quoted and not empty:
        return text
    below = sections(field).get(None) if field else None
    if below is not None and below.takes_text and not text.startswith(("{", "'", '"')) and text not in ("", "null"):
        return text
    return read_yaml(text)[0]
