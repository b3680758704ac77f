"""Writes chosen settings as a short YAML page, a reason beside each, that loads back to the same experiment."""

from collections.abc import Iterator, Sequence
from typing import Any

from dinotune.config.written import flow
from dinotune.starting.choices import Choice

WIDEST = 52
"""Reasons stand below each other as far as settings are no wider than this."""


def tree(choices: Sequence[Choice]) -> dict[str, Any]:
    """The settings as nested mappings, as `load_experiment` takes them."""
    found: dict[str, Any] = {}
    for choice in choices:
        *outer, last = choice.key.split(".")
        inner = found
        for name in outer:
            inner = inner.setdefault(name, {})
        inner[last] = choice.value
    return found


def page(header: Sequence[str], choices: Sequence[Choice]) -> str:
    """Comment lines, then every choice with its reason, sections in the order in which they first come."""
    rows = list(_rows(choices))
    column = max([len(setting) for setting, _ in rows if len(setting) <= WIDEST], default=0) + 2
    lines = [f"# {_one_line(line)}" for line in header]
    return "\n".join([*lines, "", *(f"{setting:<{column}}# {why}" if why else setting for setting, why in rows)]) + "\n"


def _rows(choices: Sequence[Choice]) -> Iterator[tuple[str, str]]:
    """A line's setting and its reason; the opening of a section has none."""
    section = ""
    for choice in choices:
        outer, _, key = choice.key.rpartition(".")
        if outer and outer != section:
            yield f"{outer}:", ""
        section = outer
        yield f"{'  ' if outer else ''}{key}: {flow(choice.value)}  ", _one_line(choice.reason)


def _one_line(text: str) -> str:
    """A line break in a folder's name must not end a comment."""
    return " ".join(text.split())
