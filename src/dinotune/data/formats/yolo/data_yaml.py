"""`data.yaml` and `classes.txt` of YOLO: the names of the classes, and where the splits' pictures lie.

https://docs.ultralytics.com/datasets/detect/; Roboflow writes `../train/images` for a folder beside the file.
"""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from dinotune.data.formats.base import SPLIT_ALIASES
from dinotune.data.formats.class_names import MOST_CLASSES, clear_names, nameless
from dinotune.data.formats.yolo.labels import largest_index
from dinotune.data.problems import FileError, Findings, Kind, Problem, some
from dinotune.errors import DataError

NAME_THEM = "write their names into classes.txt, one per line"

SPLIT_KEYS = tuple(alias for aliases in SPLIT_ALIASES.values() for alias in aliases)


def find_yaml(root: Path) -> Path | None:
    """`data.yaml`, or else the only YAML file of the folder that has `names` and a training or validation split."""
    for name in ("data.yaml", "data.yml"):
        if (root / name).is_file():
            return root / name
    files = [path for path in sorted([*root.glob("*.yaml"), *root.glob("*.yml")]) if _describes_data(path)]
    if len(files) > 1:
        names = some(path.name for path in files)
        raise DataError(f"{root}: several files describe YOLO data ({names}); name the one that counts data.yaml")
    return files[0] if files else None


def _describes_data(path: Path) -> bool:
    try:
        content = load_yaml(path)
    except DataError:
        return False
    return "names" in content and any(key in content for key in SPLIT_KEYS[:-1])


def load_yaml(file: Path) -> dict[str, Any]:
    """The file's mapping; FileError with the line for anything else."""
    try:
        content = yaml.safe_load(file.read_bytes().decode("utf-8-sig"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or error
        raise _broken(file, f"not readable as YAML: {reason}", mark.line + 1 if mark else None) from None
    if not isinstance(content, dict):
        raise _broken(file, "holds no keys; it needs train, val and names")
    return content


def split_sources(file: Path) -> dict[str, tuple[Path, ...]]:
    """Folders, or texts that list pictures, of each split that a `data.yaml` names; they need not exist."""
    content = load_yaml(file)
    return {
        split: tuple(path for _, path in _resolved(content, file, key))
        for split, aliases in SPLIT_ALIASES.items()
        for key in [key for key in aliases if content.get(key)][:1]
    }


def note_stale_paths(file: Path, findings: Findings) -> None:
    """Note paths of a `data.yaml` that do not exist here, but whose ends do beside the file."""
    content = load_yaml(file)
    base = content.get("path")
    if base and not (file.parent / _as_posix(base)).is_dir():
        message = f"path {base} does not exist here; {file.parent} is taken"
        findings.add(Kind.STALE_PATH, file, message, line=_line_of(file, "path"))
    for key in (key for key in SPLIT_KEYS if content.get(key)):
        for written, path in _resolved(content, file, key):
            if path.exists() and os.path.normpath(_base(content, file) / written) != str(path):
                message = f"{key}: {written} does not exist here; {path} is taken"
                findings.add(Kind.STALE_PATH, file, message, line=_line_of(file, key))


def resolve(written: str, base: Path, folder: Path) -> Path:
    """A path as written below `base`; where that does not exist, its longest end that does below `folder`.

    `/content/set/train/images` of another machine becomes `FOLDER/train/images`.
    """
    literal = Path(os.path.normpath(base / written))
    if literal.exists():
        return literal
    parts = [part for part in PurePosixPath(written).parts if part not in ("/", "..", ".")]
    for start in range(len(parts)):
        end = folder.joinpath(*parts[start:])
        # `images` alone says nothing of the split.
        if parts[start:] != ["images"] and end.exists():
            return end
    return literal


def class_names(classes: Path, findings: Findings) -> list[str]:
    """Names by index from `data.yaml` or `classes.txt`; `class 0`, ... up to the largest index below a folder.

    FileError where there is nothing to go by.
    """
    if classes.is_dir():
        return nameless(_count_below(classes), classes, NAME_THEM, findings)
    if classes.suffix == ".txt":
        lines = classes.read_bytes().decode("utf-8-sig", errors="replace").rstrip().splitlines()
        return clear_names(dict(enumerate(lines)), classes, findings, lambda index: index + 1)
    content = load_yaml(classes)
    names, count = content.get("names"), content.get("nc")
    if names is None:
        count = count if isinstance(count, int) else _count_below(classes.parent)
        return nameless(count, classes, "add names: [FIRST, SECOND, ...]", findings)
    line = _line_of(classes, "names")
    clear = clear_names(_by_index(names, classes), classes, findings, lambda _: line)
    if count is not None and str(count) != str(len(clear)):
        message = f"nc is {count}, but names has {len(clear)}; set nc: {len(clear)}, or mend names"
        findings.add(Kind.CLASS_COUNT, classes, message, line=_line_of(classes, "nc"))
    return clear


def _count_below(folder: Path) -> int:
    return largest_index(sorted(folder.rglob("*.txt"))) + 1


def keypoint_columns(classes: Path) -> int:
    """Columns that follow each box where a `data.yaml` has `kpt_shape: [points, 2 or 3]`; 0 where it has none."""
    shape = load_yaml(classes).get("kpt_shape") if classes.suffix in (".yaml", ".yml") else None
    if isinstance(shape, list) and len(shape) == 2 and all(isinstance(side, int) for side in shape):
        return int(shape[0] * shape[1])
    return 0


def _resolved(content: dict[str, Any], file: Path, key: str) -> Iterator[tuple[str, Path]]:
    listed = content[key] if isinstance(content[key], list) else [content[key]]
    for written in listed:
        if not isinstance(written, str):
            message = f"{key}: {written!r} is not a folder, a list of folders or a text file that lists pictures"
            raise _broken(file, message, _line_of(file, key))
        yield _as_posix(written), resolve(_as_posix(written), _base(content, file), file.parent)


def _base(content: dict[str, Any], file: Path) -> Path:
    base = file.parent / _as_posix(content.get("path") or ".")
    return base if base.is_dir() else file.parent


def _as_posix(path: object) -> str:
    return str(path).replace("\\", "/")


def _by_index(names: Any, file: Path) -> dict[int, Any]:
    if isinstance(names, list) and names:
        return dict(enumerate(names))
    try:
        by_index = {int(index): name for index, name in names.items()}
    except (AttributeError, TypeError, ValueError):
        by_index = {}
    if not by_index or min(by_index) < 0 or max(by_index) >= MOST_CLASSES:
        line = _line_of(file, "names")
        raise _broken(file, "names is neither a list of names nor a mapping such as {0: cat, 1: dog}", line)
    return by_index


def _line_of(file: Path, key: str) -> int | None:
    lines = file.read_bytes().decode("utf-8-sig").splitlines()
    return next((number for number, line in enumerate(lines, start=1) if line.startswith(f"{key}:")), None)


def _broken(file: Path, message: str, line: int | None = None) -> FileError:
    return FileError(Problem(Kind.BROKEN_YAML, file, message, line))
