"""Files that say which value in a mask is which class."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dinotune.data.formats.yolo.data_yaml import load_yaml
from dinotune.data.problems import FileError, Kind, Problem
from dinotune.errors import DataError

KEYS = ("classes", "names", "id2label")
"""Keys of a YAML or JSON file that may hold the classes."""

LARGEST_FILE = 2**20
"""Bytes; a larger JSON file holds annotations."""

OURS = "classes.yaml"


@dataclass(frozen=True)
class ClassFile:
    """Classes as a file has them."""

    file: Path
    names: Mapping[int, Any]
    """By value in the masks; as written, so not all may be names."""
    colours: Mapping[int, int] | None = None
    """Colour of each class as R * 65536 + G * 256 + B, where masks are painted in colours."""
    first_is_one: bool = False
    """Whether the file itself counts from one."""


def class_files(folders: tuple[Path, ...]) -> list[ClassFile]:
    """What files of these folders say, those first that are less likely to be about anything else.

    Raises:
        FileError: a file whose name leaves no doubt cannot be read.
    """
    return [found for read in READERS for folder in folders for found in read(folder)]


def _structured(folder: Path) -> Iterator[ClassFile]:
    paths = [path for suffix in ("yaml", "yml", "json") for path in sorted(folder.glob(f"*.{suffix}"))]
    for path in sorted(paths, key=lambda path: path.stem != "classes"):
        if path.stat().st_size <= LARGEST_FILE and (names := _mapping(_content(path))):
            yield ClassFile(path, names)


def _content(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes().decode("utf-8-sig")) if path.suffix == ".json" else load_yaml(path)
    except (ValueError, RecursionError, OSError) as error:
        problem = FileError(Problem(Kind.BROKEN_JSON, path, f"not readable as JSON: {error}"))
    except FileError as error:
        problem = error
    if path.stem == "classes":
        raise problem
    return None


def _mapping(content: Any) -> dict[int, Any]:
    """Names by id under one of the keys, or in a file of nothing else; empty where there are none."""
    if not isinstance(content, dict):
        return {}
    under_key = next(filter(None, (_by_id(content.get(key)) for key in KEYS)), {})
    if under_key or not all(isinstance(name, str) for name in content.values()):
        return under_key
    return _by_id(content)


def _by_id(written: Any) -> dict[int, Any]:
    if isinstance(written, list):
        written = dict(enumerate(written))
    if not isinstance(written, dict):
        return {}
    if written and all(type(id_) is int for id_ in written.values()):  # the other way round: {cat: 1}
        written = {id_: name for name, id_ in written.items()}
    if any(isinstance(name, list | dict) for name in written.values()):
        return {}
    try:
        return {int(id_): name for id_, name in written.items()}
    except (TypeError, ValueError):
        return {}


def _labelmap(folder: Path) -> Iterator[ClassFile]:
    """CVAT's `name:r,g,b:parts:actions`."""
    path = folder / "labelmap.txt"
    if not path.is_file():
        return
    names: dict[int, Any] = {}
    colours: dict[int, int] = {}
    for line, written in enumerate(_lines(path), 1):
        if not written.strip() or written.lstrip().startswith("#"):
            continue
        columns = written.split(":")
        try:
            red, green, blue = (int(part) for part in columns[1].split(","))
        except (IndexError, ValueError):
            message = f"`{written[:60]}`: a line is name:red,green,blue::"
            raise FileError(Problem(Kind.UNCLEAR_CLASS, path, message, line)) from None
        names[len(names)], colours[len(colours)] = columns[0], red * 65536 + green * 256 + blue
    if names:
        yield ClassFile(path, names, colours)


def _class_dict(folder: Path) -> Iterator[ClassFile]:
    """CamVid's `name,r,g,b` behind a line that says so."""
    path = folder / "class_dict.csv"
    rows = [[cell.strip() for cell in row] for row in csv.reader(_lines(path))][1:] if path.is_file() else []
    try:
        colours = [int(red) * 65536 + int(green) * 256 + int(blue) for _, red, green, blue in filter(None, rows)]
    except ValueError:
        raise FileError(Problem(Kind.UNCLEAR_CLASS, path, "a line is name,red,green,blue")) from None
    if colours:
        yield ClassFile(path, dict(enumerate(row[0] for row in rows if row)), dict(enumerate(colours)))


def _object_info(folder: Path) -> Iterator[ClassFile]:
    """ADE20K's table: index, share of pixels, counts, and the name at the end."""
    for path in sorted(folder.glob("objectInfo*.txt")):
        rows = [line.split("\t") for line in _lines(path)]
        names = {int(row[0]): row[-1] for row in rows if len(row) > 1 and row[0].strip().isdigit()}
        if names:
            yield ClassFile(path, names, first_is_one=True)


def _table(folder: Path) -> Iterator[ClassFile]:
    """Roboflow's `Pixel Value, Class`."""
    path = folder / "_classes.csv"
    if path.is_file():
        rows = [[cell.strip() for cell in row] for row in csv.reader(_lines(path))]
        names = {int(row[0]): row[1] for row in rows if len(row) > 1 and row[0].isdigit()}
        if names:
            yield ClassFile(path, names)


def _plain(folder: Path) -> Iterator[ClassFile]:
    path = folder / "classes.txt"
    if path.is_file() and (lines := "\n".join(_lines(path)).rstrip().splitlines()):
        yield ClassFile(path, dict(enumerate(lines)))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_bytes().decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not readable as text: {error}") from None


READERS: tuple[Callable[[Path], Iterator[ClassFile]], ...] = (
    _structured, _labelmap, _class_dict, _object_info, _table, _plain,
)  # fmt: skip
