"""Says in words which values a setting takes; used by error messages and by the reference."""

from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from dinotune.config.fields import Option, field_options, options, sections, stage_section

_WORDS = {int: "integer", float: "number", bool: "true or false", str: "text", Path: "path", type(None): "none"}
_SIGNS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


def describe(field: FieldInfo) -> str:
    """Type and limits of a field in words, e.g. ``integer >= 1 or none``."""
    kinds = [kind for kind in sections(field) if kind is not None]
    if kinds:
        return f"section of kind {join(kinds)}"
    member = stage_section(field)
    if member:
        return f"list of sections with {join(list(member.model_fields), 'and')}"
    return _describe_all(field_options(field))


def join(words: list[str], last: str = "or") -> str:
    """``a, b or c``."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


def _describe_all(found: list[Option]) -> str:
    """Lists come last: what follows them would read as part of them."""
    words = dict.fromkeys(
        _describe(option) for option in sorted(found, key=lambda option: get_origin(option.type) is tuple)
    )
    return " or ".join(words)


def _describe(option: Option) -> str:
    origin, arguments = get_origin(option.type), get_args(option.type)
    if origin is Literal:
        return join([str(word) for word in arguments])
    if origin is dict:
        return "mapping of names to plain values"
    if origin is tuple:
        return _describe_list(arguments, option.limits)
    if option.type not in _WORDS:
        return f"section with {join(list(option.type.model_fields), 'and')}"
    return " ".join([_WORDS[option.type], *_describe_limits(option.limits)])


def _describe_list(members: tuple[Any, ...], limits: dict[str, Any]) -> str:
    inner = _describe_all(options(members[0]))
    if members[-1] is not Ellipsis:
        return f"list of {len(members)}, each {inner}"
    return f"{'non-empty ' if limits.get('min_length') else ''}list, each {inner}"


def _describe_limits(limits: dict[str, Any]) -> list[str]:
    signs = [f"{sign} {limits[name]}" for name, sign in _SIGNS.items() if name in limits]
    lower_and_upper = [" and ".join(signs)] if signs else []
    multiple = [f"multiple of {limits['multiple_of']}"] if "multiple_of" in limits else []
    pattern = [f"of the form {limits['pattern']}"] if "pattern" in limits else []
    return [*lower_and_upper, *multiple, *pattern]
