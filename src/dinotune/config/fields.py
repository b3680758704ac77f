"""Reads the settings classes: which values a field takes, which sections lie below it, every key there is.

Merging, error messages, the written page and the reference all follow this one view.
"""

import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BeforeValidator
from pydantic.fields import FieldInfo

from dinotune.config.base import Section
from dinotune.config.own import kind_name

_LIMITS = ("ge", "gt", "le", "lt", "multiple_of", "min_length", "pattern")


@dataclass(frozen=True)
class Option:
    """One of the types that a field takes, with the limits on its values (`ge`, `pattern` ...)."""

    type: Any
    limits: dict[str, Any]


def options(annotation: Any, metadata: Sequence[Any] = ()) -> list[Option]:
    """Flatten unions and annotations into the single types they allow."""
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *more = get_args(annotation)
        return options(inner, (*metadata, *more))
    if origin in (Union, types.UnionType):
        return [option for member in get_args(annotation) for option in options(member, metadata)]
    return [Option(annotation, _limits(metadata))]


def _limits(metadata: Sequence[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for item in metadata:
        if isinstance(item, FieldInfo):
            found |= _limits(item.metadata)
        found |= {name: getattr(item, name) for name in _LIMITS if getattr(item, name, None) is not None}
    return found


def field_options(field: FieldInfo) -> list[Option]:
    """Types that a field takes."""
    return options(field.annotation, field.metadata)


def sections(field: FieldInfo) -> dict[str | None, type[Section]]:
    """Sections that a field may hold, by their `kind` (None for a section without kinds)."""
    return {_kind(option.type): option.type for option in field_options(field) if _is_section(option.type)}


def section_of(field: FieldInfo, kind: Any) -> type[Section] | None:
    """Section of a kind, which may be an import path."""
    return sections(field).get(kind_name(kind)) if isinstance(kind, str) else None


def stage_section(field: FieldInfo) -> type[Section] | None:
    """Section of the members of a field that holds a list of sections, else None."""
    for option in field_options(field):
        if get_origin(option.type) is tuple and _is_section(get_args(option.type)[0]):
            return get_args(option.type)[0]  # type: ignore[no-any-return]
    return None


def takes_none(field: FieldInfo) -> bool:
    """Whether a field may be empty."""
    return any(option.type is type(None) for option in field_options(field))


def takes_mapping(field: FieldInfo) -> bool:
    """Whether a field holds names with values that are no settings of ours."""
    return any(get_origin(option.type) is dict for option in field_options(field))


def short_form(field: FieldInfo, value: Any) -> Any:
    """Expand a field's short forms (`head: faster_rcnn`, `data: folder`) into mappings."""
    if value == "none" and takes_none(field):
        return None
    for item in field.metadata:
        if isinstance(item, BeforeValidator):
            value = item.func(value)  # type: ignore[call-arg]
    found = sections(field)
    if None in found:
        value = found[None].expand(value)
    member = stage_section(field)
    if member and isinstance(value, list | tuple):
        return [member.expand(stage) for stage in value]
    return {} if value is None and found and not takes_none(field) else value


def _is_section(candidate: Any) -> bool:
    return isinstance(candidate, type) and issubclass(candidate, Section)


def _kind(section: type[Section]) -> str | None:
    field = section.model_fields.get("kind")
    return None if field is None else str(field.default)


@dataclass(frozen=True)
class Place:
    """A field of the settings: where it stands, under which kind, and what it is."""

    path: tuple[str, ...]
    kind: str | None
    field: FieldInfo

    @property
    def key(self) -> str:
        """Dotted name for `key=value`."""
        return ".".join(self.path)


def walk(section: type[Section], path: tuple[str, ...] = (), kind: str | None = None) -> Iterator[Place]:
    """Every field below a section, sections themselves included, in the order of the classes."""
    for name, field in section.model_fields.items():
        yield Place((*path, name), kind, field)
        member = stage_section(field)
        below = {None: member} if member else sections(field)
        for inner_kind, inner in below.items():
            yield from walk(inner, (*path, name), inner_kind or kind)


def find(section: type[Section], path: Sequence[str]) -> FieldInfo | None:
    """Field at a dotted path, whatever the kind, or None."""
    return next((place.field for place in walk(section) if place.path == tuple(path)), None)


def choices(field: FieldInfo) -> list[str]:
    """Words that a field takes: its literals, and the kinds of its sections."""
    literals = [
        word for option in field_options(field) if get_origin(option.type) is Literal for word in get_args(option.type)
    ]
    return [*literals, *(kind for kind in sections(field) if kind is not None)]
