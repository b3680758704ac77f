"""Names of classes that a data set lists by index, or does not name at all."""

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dinotune.data.problems import FileError, Findings, Kind, Problem
from dinotune.data.records import LabelSet

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
    return list(
        clear_by_id({index: by_index.get(index) for index in range(max(by_index) + 1)}, file, findings, line).values()
    )


def clear_by_id(
    by_id: Mapping[int, Any], file: Path, findings: Findings, line: Callable[[int], int | None]
) -> dict[int, str]:
    """One name of its own per id, in their order; `class 3` for what is repeated or no name. `line` says where an id stands."""
    names: dict[int, str] = {}
    of_name: dict[str, int] = {}
    for id_, written in sorted(by_id.items()):
        usable = isinstance(written, str | int | float) and not isinstance(written, bool)
        name = str(written).strip() if usable else ""
        if not name or name in of_name:
            what = f'"{name}" is class {of_name[name]} too' if name else f"{written!r} is no name"
            # YAML reads `no` and `on` as false and true.
            hint = "; put it in quotes" if isinstance(written, bool) else ""
            findings.add(Kind.UNCLEAR_CLASS, file, what + hint, line=line(id_), entry=f"class {id_}")
            name = f"class {id_}"
        names[id_] = name
        of_name[name] = id_
    return names


def with_ids_of(own: LabelSet, labels: LabelSet) -> LabelSet:
    """The model's classes with a data set's own ids, which results must carry; classes it lacks get ids it does not use."""
    by_name = dict(zip(own.names, own.ids, strict=True))
    free = itertools.count(max(*own.ids, *labels.ids) + 1)
    ids = [
        by_name[name] if name in by_name else next(free) if trained in own.ids else trained
        for name, trained in zip(labels.names, labels.ids, strict=True)
    ]
    return LabelSet(labels.names, tuple(ids))


def nameless(count: int, where: Path, remedy: str, findings: Findings) -> list[str]:
    """`class 0`, `class 1`, ... for a data set without names; FileError for a count that cannot be one."""
    if not 0 < count <= MOST_CLASSES:
        what = f"the labels go up to class {count - 1}" if count > 0 else "no labels either"
        raise FileError(Problem(Kind.NAMELESS_CLASSES, where, f"no names of classes, and {what}; {remedy}"))
    message = f"no names of classes; the labels go up to class {count - 1}: {remedy}"
    findings.add(Kind.NAMELESS_CLASSES, where, message)
    return [f"class {index}" for index in range(count)]
