"""Atomic writes: a file is either the old one or the whole new one, never half of it; and what a path means."""

import itertools
import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from dinotune.config.tasks import SCORES
from dinotune.errors import DinotuneError, SettingsError


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, flush it to disk, then rename it over `path`.

    OSError names `path`, whatever temporary file was concerned.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes, atomically."""
    write_atomically(path, lambda temporary: temporary.write_bytes(content))


def check_folder(folder: Path) -> None:
    """SettingsError where results cannot be written into this folder."""
    blocking = [path for path in (folder, *folder.parents) if path.exists() and not path.is_dir()]
    if blocking:
        raise SettingsError(f"out: {blocking[0]} is a file; name a folder")
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(there, os.W_OK):
        raise SettingsError(f"out: {there.absolute()} cannot be written to; name another folder")


def find_checkpoint(source: Path) -> Path:
    """The file to use of a run folder (best by the task's score, else by loss, else last), or the file itself."""
    if source.is_file():
        return source
    folder = source / "checkpoints"
    best = [f"best_{name}.safetensors" for name in (*(scores.best for scores in SCORES.values()), "loss")]
    for name in (*best, "last.ckpt"):
        if (folder / name).is_file():
            return folder / name
    raise DinotuneError(f"{source}: neither a checkpoint file nor a run folder with checkpoints/")


def remove_unfinished(folder: Path) -> None:
    """Remove the temporary files that a killed process left behind."""
    for left in folder.glob(".*.tmp"):
        left.unlink()


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically; large lists stay on few lines."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def _umask() -> int:
    """The process's umask; some libraries write files that only their owner may read."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def distinct_names(paths: Sequence[Path], suffix: str) -> list[str]:
    """A file name for what is made of each path; stems that clash are numbered."""
    names: dict[str, None] = {}
    for path in paths:
        stems = itertools.chain([path.stem], (f"{path.stem}-{number}" for number in itertools.count(2)))
        names[next(name for stem in stems if (name := f"{stem}{suffix}") not in names)] = None
    return list(names)
