"""A part of the user's own, named by its import path (`my_lab.heads:WindowHead`), beside the kinds of the package."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, get_args

from pydantic import BeforeValidator, Field, GetCoreSchemaHandler, JsonValue, WithJsonSchema
from pydantic_core import CoreSchema, core_schema

from dinotune.config.base import Section

OWN_KIND = "module:Class"
"""Stands for all import paths wherever kinds are listed."""

_NUMBER = re.compile(r"[-+]?\d+[eE][-+]?\d+")


def kind_name(kind: Any) -> str:
    """The kind under which a section is listed: an import path is one of `OWN_KIND`."""
    return OWN_KIND if ":" in str(kind) else str(kind)


def _with_numbers(value: Any) -> Any:
    """YAML 1.1 reads ``1e-4`` as a text."""
    if isinstance(value, dict):
        return {key: _with_numbers(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_numbers(inner) for inner in value]
    return float(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else value


class OwnPart(Section):
    """Import path and options of a class of the user's own."""

    kind: Annotated[str, Field(pattern=r"^[\w.]+:\w+$")] = OWN_KIND
    """Import path of the class: the module, a colon, the name."""
    options: Annotated[dict[str, JsonValue], BeforeValidator(_with_numbers), WithJsonSchema({"type": "object"})] = {}  # noqa: RUF012
    """What the class takes as its first argument: names with plain values."""


class ByKind:
    """Chooses among sections by their `kind`; an import path takes the `OwnPart` among them.

    pydantic's own discriminators know literal kinds only.
    """

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        members = {str(member.model_fields["kind"].default): member for member in get_args(source)}
        schemas: dict[Any, CoreSchema] = {kind: handler.generate_schema(member) for kind, member in members.items()}
        return core_schema.tagged_union_schema(schemas, discriminator=_kind_of)


def _kind_of(value: Any) -> str | None:
    kind = value.get("kind") if isinstance(value, Mapping) else getattr(value, "kind", None)
    return None if kind is None else kind_name(kind)
