"""What is wrong with a data set: each problem named with file, line and the rule that is applied to it.

Readers put everything they find into Findings and go on, so that one reading names all problems at once.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from dinotune.errors import DataError


class Rule(NamedTuple):
    """What one kind of problem is called, and what is done about it."""

    name: str
    """Two to six words, the same for all problems of the kind."""
    remedy: str
    """What happens to the box or picture where reading goes on: `left out`, `clipped`."""
    stops: bool
    """Whether `data.on_error: stop` ends on it; the others are only reported."""


class Kind(Enum):
    """All kinds of problems."""

    EMPTY_BOX = Rule("box without an area", "left out", stops=False)
    CLIPPED_BOX = Rule("box reaching beyond the picture", "clipped", stops=False)
    OUTSIDE_BOX = Rule("box outside the picture", "left out", stops=True)
    NEGATIVE_BOX = Rule("box with a negative width or height", "left out", stops=True)
    MALFORMED_BOX = Rule("box that is not four numbers", "left out", stops=True)
    MISSING_BOX = Rule("object without a box", "left out", stops=True)
    MALFORMED_AREA = Rule("area that is not a number", "width x height taken", stops=True)

    MALFORMED_ENTRY = Rule("entry that is not an object", "left out", stops=True)
    MALFORMED_PICTURE = Rule("picture without a usable id, name or size", "left out", stops=True)
    REPEATED_PICTURE_ID = Rule("picture id that occurs twice", "the second left out", stops=True)
    REPEATED_FILE = Rule("file that is listed as two pictures", "the second left out", stops=True)
    REPEATED_NAME = Rule("name that is listed twice", "counted once", stops=False)
    UNKNOWN_PICTURE_ID = Rule("unknown picture id", "left out", stops=True)
    UNKNOWN_CLASS = Rule("unknown class", "left out", stops=True)

    BROKEN_JSON = Rule("file that is not readable as JSON", "not read", stops=True)
    BROKEN_XML = Rule("file that is not readable as XML", "picture left out", stops=True)
    MISSING_XML = Rule("listed name without an XML file", "picture left out", stops=True)
    MISSING_PICTURE = Rule("picture that does not exist", "left out", stops=True)
    CLASHING_STEMS = Rule("pictures that share a stem", "left out", stops=True)
    UNREADABLE_PICTURE = Rule("picture that cannot be read", "left out", stops=True)


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong at one place."""

    kind: Kind
    file: Path
    message: str
    """What is wrong, with the value found and, where there is one, the value that would work."""
    line: int | None = None
    """1-based line of a text file; none for pictures and whole files."""
    entry: str = ""
    """Entry of a file, as its own ids have it: `annotation 17`."""

    @property
    def place(self) -> str:
        """`FILE:LINE (ENTRY)`, as editors and terminals understand it."""
        line = "" if self.line is None else f":{self.line}"
        entry = f" ({self.entry})" if self.entry else ""
        return f"{self.file}{line}{entry}"

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


class FileError(DataError):
    """A problem that leaves nothing to go on with: a whole file or folder cannot be used."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


@dataclass
class Findings:
    """The problems of one reading, in the order in which they were found."""

    problems: list[Problem] = field(default_factory=list)

    def add(self, kind: Kind, file: Path, message: str, *, line: int | None = None, entry: str = "") -> None:
        """Note a problem and go on."""
        self.problems.append(Problem(kind, file, message, line, entry))

    @property
    def stopping(self) -> list[Problem]:
        """Those that `data.on_error: stop` ends on."""
        return [problem for problem in self.problems if problem.kind.value.stops]

    def notes(self) -> tuple[str, ...]:
        """A sentence per kind with its count, the rule applied and the first places."""
        return tuple(_note(kind, [p for p in self.problems if p.kind is kind]) for kind in self.counts())

    def counts(self) -> Counter[Kind]:
        """Number of problems per kind."""
        return Counter(problem.kind for problem in self.problems)


def _note(kind: Kind, problems: list[Problem]) -> str:
    return f"{len(problems)} × {kind.value.name}, {kind.value.remedy}: {some(problem.place for problem in problems)}"


def some(names: Iterable[object], most: int = 3) -> str:
    """The first few names, with an ellipsis where more follow."""
    all_names = [str(name) for name in names]
    return ", ".join(all_names[:most]) + (", …" if len(all_names) > most else "")
