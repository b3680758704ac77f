"""Reads one YAML page of settings and remembers the line of every key; a key written twice is an error."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dinotune.errors import SettingsError

TEXT, MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"


@dataclass(frozen=True)
class Layer:
    """Raw settings from one source, and for each key where it was written ("" for the command line)."""

    tree: dict[str, Any]
    places: dict[tuple[str, ...], str]
    is_modifier: bool = False
    """Whether keys may be meant for another kind (of head) than the one chosen."""


def read_layer(path: Path) -> Layer:
    """Read a YAML file of settings.

    Raises:
        SettingsError: The file cannot be read, is no YAML, writes a key twice, or holds no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read: {error}") from error
    try:
        value, keys = read_yaml(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SettingsError(f"{path}, line {line}: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise SettingsError(f"{path}: {error}") from error
    tree = {} if value is None else value
    if not isinstance(tree, dict):
        raise SettingsError(f"{path}: holds no settings; write lines such as `seed: 1`")
    return Layer(tree, _places(path, keys))


def read_yaml(text: str) -> tuple[Any, list[tuple[tuple[str, ...], int]]]:
    """One YAML value, and each key with its line; keys are texts, though YAML reads `on` as true and `1` as a number.

    Raises:
        yaml.YAMLError, ValueError: The text is no YAML, or a date in it does not exist.
    """
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        keys = list(_keys(node, ()))
        return (loader.construct_document(node) if node else None), keys
    finally:
        loader.dispose()


def _keys(node: yaml.Node | None, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != MERGE:
                key.tag = TEXT
            inner = (*path, str(key.value))
            yield inner, key.start_mark.line + 1
            yield from _keys(value, inner)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield from _keys(value, (*path, str(number)))


def _places(path: Path, keys: list[tuple[tuple[str, ...], int]]) -> dict[tuple[str, ...], str]:
    lines: dict[tuple[str, ...], int] = {}
    twice = []
    for key, line in keys:
        if key in lines and key[-1] != "<<":
            twice.append(f"{path}, line {line}: {'.'.join(key)} is written twice, first in line {lines[key]}; keep one")
        lines.setdefault(key, line)
    if twice:
        raise SettingsError("\n".join(twice))
    return {key: f"{path}, line {line}" for key, line in lines.items()}
