"""Entries of the lists in a JSON file: loading them, and naming what is wrong with file, line and entry."""

import gc
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

from dinotune.data.formats.base import LARGEST
from dinotune.data.formats.conventions import WrittenBoxes
from dinotune.data.formats.json_lines import entry_lines
from dinotune.data.problems import FileError, Findings, Kind, Problem

LARGEST_SIDE = 2**31 - 1
"""Pixels of the largest picture that PNG can describe."""


class _Noted(NamedTuple):
    kind: Kind
    key: str
    position: int
    message: str
    entry: str


@dataclass
class Entries:
    """Problems of one file's entries. Lines are found at the end and only for them: that takes another parsing."""

    file: Path
    noted: list[_Noted] = field(default_factory=list)
    written: WrittenBoxes = field(default_factory=WrittenBoxes)

    def add(self, kind: Kind, key: str, position: int, message: str, id_: object = None) -> None:
        """Note a problem of the entry at `position` of the list `key`, which calls itself `id_`; "" is a list at the top."""
        at = f"{key}[{position}]" if key else f"entry {position}"
        entry = at if id_ is None else f"{key.removesuffix('s')} {id_}"
        self.noted.append(_Noted(kind, key, position, message, entry))

    def hand_to(self, findings: Findings) -> None:
        """Give all problems to `findings`, with their lines."""
        if not self.noted:
            return
        lines = entry_lines(_text(self.file), {(noted.key, noted.position) for noted in self.noted})
        for kind, key, position, message, entry in self.noted:
            findings.add(kind, self.file, message, line=lines.get((key, position)), entry=entry)


def load_json(file: Path) -> Any:
    """What the file holds; FileError with the line where it is no JSON."""
    try:
        return json.loads(_text(file))
    except (OSError, ValueError, RecursionError) as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else None
        raise FileError(Problem(Kind.BROKEN_JSON, file, f"not readable as JSON: {error}", line)) from None


def _text(file: Path) -> str:
    """The file's text, without a byte order mark."""
    return file.read_bytes().decode("utf-8-sig")


@contextmanager
def collector_paused() -> Iterator[None]:
    """Reading leaves no garbage; looking for it again and again among millions of entries doubles the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def wrong_side(entry: Mapping[str, Any]) -> str:
    """What is wrong with an entry's `height` or `width`; empty where nothing is, also where they are absent or 0."""
    for key in ("height", "width"):
        if entry.get(key) and not is_number(entry[key], 1, LARGEST_SIDE):
            return f"{key} {entry[key]!r} is not a number of pixels"
    return ""


def size_hw(entry: Mapping[str, Any]) -> tuple[int, int] | None:
    """Height and width as annotated; none where either is absent or 0."""
    height, width = entry.get("height"), entry.get("width")
    return (int(height), int(width)) if height and width else None


def is_number(value: Any, least: float = -LARGEST, most: float = LARGEST) -> bool:
    """Whether a value of the JSON is a number within bounds."""
    return isinstance(value, int | float) and least <= value <= most


def is_box(value: Any) -> TypeGuard[list[float]]:
    """Whether a value of the JSON is a list of four numbers."""
    return isinstance(value, list) and len(value) == 4 and all(map(is_number, value))
