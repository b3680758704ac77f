"""Turns what pydantic found wrong into lines that help: place, wrong value, nearest right one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from dinotune.config.base import Section
from dinotune.config.describe import describe, join
from dinotune.config.experiment import Experiment
from dinotune.config.fields import choices, field_options, sections, stage_section
from dinotune.config.suggestions import did_you_mean, unknown_key


@dataclass(frozen=True)
class _Spot:
    """A place in the settings: its path, and what stands there (`section` above an unknown key)."""

    path: tuple[str | int, ...]
    section: type[Section]
    field: FieldInfo | None

    @property
    def name(self) -> str:
        return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.path).removeprefix(".")


def explain(
    error: ValidationError, tree: Mapping[str, Any], place_of: Callable[[Sequence[str | int]], str]
) -> list[str]:
    """One line per wrong setting.

    Args:
        error: What pydantic found.
        tree: The raw settings that were checked.
        place_of: Says for a path in which file and line (or variable) it was written; "" for the command line.
    """
    lines: dict[str, str] = {}
    for detail in error.errors(include_url=False):
        spot = _sharpened(_spot(detail["loc"]), detail)
        written = place_of(spot.path)
        lines.setdefault(spot.name, _sentence(detail, spot, tree) + (f" ({written})" if written else ""))
    return list(lines.values())


def _sentence(detail: ErrorDetails, spot: _Spot, tree: Mapping[str, Any]) -> str:
    match detail["type"]:
        case "extra_forbidden":
            keys = [str(part) for part in spot.path if not isinstance(part, int)]
            return f"{spot.name}: {unknown_key(keys, list(spot.section.model_fields))}"
        case "missing":
            return f"{spot.name}: is needed; give {_expected(spot)}"
        case "value_error":
            text = _own_text(detail)
            return f"{spot.name}: {text.removeprefix(f'{spot.path[-1]}: ')}" if spot.path else text
    value = _value(tree, spot.path)
    return f"{spot.name}: {_show(value)} is wrong; give {_expected(spot)}{_hint(value, spot.field)}"


def _own_text(detail: ErrorDetails) -> str:
    return detail["msg"].removeprefix("Value error, ")


def _sharpened(spot: _Spot, detail: ErrorDetails) -> _Spot:
    """Go down to the field that a validator of ours names first, or to the kind that does not exist."""
    if detail["type"] == "value_error":
        name = _own_text(detail).split(":")[0]
        if name in spot.section.model_fields and name not in spot.path[-1:]:
            return _Spot((*spot.path, name), spot.section, spot.section.model_fields[name])
    if detail["type"] == "union_tag_invalid":
        return _Spot((*spot.path, "kind"), spot.section, spot.field)
    return spot


def _spot(location: Sequence[str | int]) -> _Spot:
    """Follow pydantic's location, which also names kinds and union members, down the settings classes."""
    path: list[str | int] = []
    section: type[Section] = Experiment
    field: FieldInfo | None = None
    for part in location:
        if field is None and part in section.model_fields:
            path.append(part)
            field = section.model_fields[str(part)]
            below = sections(field)
            if len(below) == 1:
                section, field = _enter(next(iter(below.values())), field, location, path)
        elif field is None:
            path.append(part)
            break
        elif part in sections(field):
            section, field = sections(field)[str(part)], None
        elif isinstance(part, int) and (member := stage_section(field)) and location[-1] != part:
            path.append(part)
            section, field = member, None
    return _Spot(tuple(path), section, field)


def _enter(
    below: type[Section], field: FieldInfo, location: Sequence[str | int], path: Sequence[str | int]
) -> tuple[type[Section], FieldInfo | None]:
    """The single section of a field is entered unless the section as a whole is what is wrong."""
    return below, (field if location[-1] == path[-1] and len(location) == len(path) else None)


def _value(tree: Any, path: Sequence[str | int]) -> Any:
    for part in path:
        try:
            tree = tree[part]
        except (KeyError, IndexError, TypeError):
            return None
    return tree


def _expected(spot: _Spot) -> str:
    if spot.field is None:
        return "a section"
    kinds = choices(spot.field) if spot.path[-1] == "kind" else []
    return join(kinds) if kinds else describe(spot.field)


def _show(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    try:
        return yaml.safe_dump([value], default_flow_style=True, width=float("inf")).strip()[1:-1]
    except yaml.YAMLError:  # an object given from Python
        return repr(value)


def _hint(value: Any, field: FieldInfo | None) -> str:
    types = {option.type for option in field_options(field)} if field else set()
    if isinstance(value, float) and int in types and value.is_integer():
        return f"; write {int(value)}"
    if not isinstance(value, str) or field is None:
        return ""
    word = value.strip().lower()
    if (int in types and word.lstrip("-").isdigit()) or (bool in types and word in ("true", "false")):
        return f"; write {word} without quotes"
    if "," in value and "list" in describe(field):
        return f"; write [{value}]"
    return did_you_mean(value, choices(field))
