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
    DUPLICATE_BOX = Rule("box that occurs twice", "kept", stops=False)
    CORNERS_AS_SIDES = Rule("boxes that look like x1, y1, x2, y2", "taken as x, y, width, height", stops=True)
    SIDES_AS_CORNERS = Rule("boxes that look like x, y, width, height", "taken as x1, y1, x2, y2", stops=True)
    SHARES_AS_PIXELS = Rule("boxes that look like shares of the picture", "taken as pixels", stops=True)
    MALFORMED_AREA = Rule("area that is not a number", "width x height taken", stops=True)

    MALFORMED_ENTRY = Rule("entry that is not an object", "left out", stops=True)
    MALFORMED_PICTURE = Rule("picture without a usable id, name or size", "left out", stops=True)
    REPEATED_PICTURE_ID = Rule("picture id that occurs twice", "the second left out", stops=True)
    REPEATED_FILE = Rule("file that is listed as two pictures", "the second left out", stops=True)
    REPEATED_NAME = Rule("name that is listed twice", "counted once", stops=False)
    REPEATED_ANNOTATION_ID = Rule("annotation id that occurs twice", "both kept", stops=False)
    UNKNOWN_PICTURE_ID = Rule("unknown picture id", "left out", stops=True)
    UNKNOWN_CLASS = Rule("unknown class", "left out", stops=True)

    BROKEN_JSON = Rule("file that is not readable as JSON", "not read", stops=True)
    BROKEN_BATCH = Rule("file or folder that is not as CIFAR's", "not read", stops=True)
    BROKEN_XML = Rule("file that is not readable as XML", "picture left out", stops=True)
    MISSING_XML = Rule("listed name without an XML file", "picture left out", stops=True)
    MISSING_PICTURE = Rule("picture that does not exist", "left out", stops=True)
    CLASHING_STEMS = Rule("pictures that share a stem", "left out", stops=True)
    UNREADABLE_PICTURE = Rule("picture that cannot be read", "left out", stops=True)
    EMPTY_FILE = Rule("picture file without content", "left out", stops=True)
    NOT_A_PICTURE = Rule("file that is no picture", "left out", stops=True)
    HUGE_PICTURE = Rule("picture too large to decode safely", "left out", stops=True)
    WRONG_SIZE = Rule("picture of another size than annotated", "left out", stops=True)
    ROTATED_PICTURE = Rule("EXIF rotation that the annotation does not fit", "not rotated", stops=False)
    UNCLEAR_TURN = Rule("EXIF turn that its mask may lack", "picture turned, its mask as stored", stops=False)
    OTHER_FORMAT = Rule("picture of another format than its name says", "read as what it is", stops=False)
    OTHER_COLOURS = Rule("picture that is not 8-bit RGB or grey", "converted", stops=False)

    UNUSABLE_SPLIT = Rule("split that cannot be used", "not read", stops=True)
    NO_LABELS = Rule("split without labels", "nothing to learn or measure", stops=True)
    SHARED_PICTURE = Rule("picture in two splits", "kept", stops=False)
    REPEATED_PICTURE = Rule("picture that is twice in a split", "kept", stops=False)
    ORPHAN_PICTURE = Rule("picture without annotation", "not used", stops=False)
    ORPHAN_ANNOTATION = Rule("annotation file that no split lists", "not used", stops=False)
    UNUSED_CLASS = Rule("classes without a label", "kept", stops=False)
    UNTRAINED_CLASS = Rule("classes that training pictures do not show", "cannot be learnt", stops=False)
    RARE_CLASS = Rule("rare classes", "kept", stops=False)
    SMALL_OBJECTS = Rule("objects smaller than a patch", "kept", stops=False)

    LABEL_COLUMNS = Rule("label line with a wrong number of columns", "left out", stops=True)
    MALFORMED_CLASS = Rule("class index that is no whole number", "left out", stops=True)
    PIXEL_LABEL = Rule("label in pixels, not shares", "left out", stops=True)
    OUTSIDE_SHARE = Rule("label coordinate outside 0 to 1", "left out", stops=True)
    REPEATED_LINE = Rule("label line that occurs twice", "counted once", stops=False)
    ORPHAN_LABEL = Rule("label file without a picture", "left out", stops=True)
    BROKEN_LABEL = Rule("label file that is no text", "picture left out", stops=True)
    MISSING_LABELS = Rule("split without any label file", "not read", stops=True)
    MISSING_MASK = Rule("picture without a mask", "left out", stops=True)
    ORPHAN_MASK = Rule("mask without a picture", "not used", stops=False)
    UNREADABLE_MASK = Rule("mask that cannot be read", "picture left out", stops=True)
    WRONG_MASK_SIZE = Rule("mask of another size than its picture", "picture left out", stops=True)
    UNKNOWN_VALUE = Rule("mask with values of no class", "picture left out", stops=True)
    ALL_IGNORED = Rule("mask without a pixel that counts", "kept", stops=False)
    MALFORMED_MASK = Rule("mask of an object that cannot be read", "object kept without it", stops=True)
    UNPAINTABLE_MASK = Rule("object whose mask cannot be painted", "picture left out", stops=True)
    UNEQUAL_LISTS = Rule("boxes and labels of different number", "picture left out", stops=True)

    BROKEN_YAML = Rule("file that is not readable as YAML", "not read", stops=True)
    UNCLEAR_CLASS = Rule("class without its own name", "named by its index", stops=True)
    NAMELESS_CLASSES = Rule("classes without names", "named by their index", stops=False)
    CLASS_COUNT = Rule("number of classes that names contradict", "names taken", stops=True)
    STALE_PATH = Rule("path that does not exist here", "sought beside the file that names it", stops=False)


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
        """A line per kind with its count, the rule applied and the first places; of a single problem also its message."""
        return tuple(_note(kind, [p for p in self.problems if p.kind is kind]) for kind in self.counts())

    def counts(self) -> Counter[Kind]:
        """Number of problems per kind."""
        return Counter(problem.kind for problem in self.problems)


def _note(kind: Kind, problems: list[Problem]) -> str:
    where = some(problem.place for problem in problems) if len(problems) > 1 else " ".join(str(problems[0]).split())
    return f"{len(problems)} × {kind.value.name}, {kind.value.remedy}: {where}"


def some(names: Iterable[object], most: int = 3) -> str:
    """The first few names, with an ellipsis where more follow."""
    all_names = [str(name) for name in names]
    return ", ".join(all_names[:most]) + (", …" if len(all_names) > most else "")


def counted(number: int, noun: str) -> str:
    """A number with its noun: `1 box`, `1,200 boxes`."""
    plural = "" if number == 1 else "es" if noun.endswith(("s", "x")) else "s"
    return f"{number:,} {noun}{plural}"
