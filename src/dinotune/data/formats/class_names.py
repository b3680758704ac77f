"""Names of classes that a data set lists by index, or does not name at all."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dinotune.data.problems import FileError, Findings, Kind, Problem

MOST_CLASSES = 30_000
"""No data set has more (ImageNet-21k has 21,841); an index beyond is a slip."""


def clear_names(
    by_index: Mapping[int, Any], file: Path, findings: Findings, line: Callable[[int], int | None]
) -> list[str]:
    """One name of its own per index from 0 on; `class 3` for what is missing, repeated or no name.

    `line` says where an index stands. FileError where there are no names.
    """
    if not by_index:
        raise FileError(Problem(Kind.UNCLEAR_CLASS, file, "no names of classes"))
    names: list[str] = []
    for index in range(max(by_index) + 1):
        written = by_index.get(index)
        usable = isinstance(written, str | int | float) and not isinstance(written, bool)
        name = str(written).strip() if usable else ""
        if not name or name in names:
            what = f'"{name}" is class {names.index(name)} too' if name else f"{written!r} is no name"
            # YAML reads `no` and `on` as false and true.
            hint = "; put it in quotes" if isinstance(written, bool) else ""
            findings.add(Kind.UNCLEAR_CLASS, file, what + hint, line=line(index), entry=f"class {index}")
            name = f"class {index}"
        names.append(name)
    return names


def nameless(count: int, where: Path, remedy: str, findings: Findings) -> list[str]:
    """`class 0`, `class 1`, ... for a data set without names; FileError for a count that cannot be one."""
    if not 0 < count <= MOST_CLASSES:
        what = f"the labels go up to class {count - 1}" if count > 0 else "no labels either"
        raise FileError(Problem(Kind.NAMELESS_CLASSES, where, f"no names of classes, and {what}; {remedy}"))
    message = f"no names of classes; the labels go up to class {count - 1}: {remedy}"
    findings.add(Kind.NAMELESS_CLASSES, where, message)
    return [f"class {index}" for index in range(count)]
