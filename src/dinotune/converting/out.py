"""The folder that a conversion writes: whole or not at all, and in the place of nothing but an earlier conversion."""

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dinotune.data.problems import some
from dinotune.errors import SettingsError
from dinotune.files import check_folder, write_json

LISTING = ".dinotune-convert.json"
"""Lists the files of a conversion, which tells them from others when it is replaced."""

UNFINISHED = ".dinotune-unfinished-"
"""Start of the name of the folder in which files wait until all are written."""


def check_free(out: Path, *, overwrite: bool) -> None:
    """SettingsError where `out` is not empty; with `overwrite`, where it holds anything but an earlier conversion."""
    check_folder(out)
    there = list(_files(out))
    if not there:
        return
    if not overwrite:
        raise SettingsError(f"{out} is not empty; replace an earlier conversion with --overwrite, or name a new folder")
    own = _listed(out)
    if not own:
        raise SettingsError(f"{out} is no conversion (no {LISTING}), so --overwrite leaves it alone; name a new folder")
    if others := sorted(set(there) - own):
        raise SettingsError(
            f"{out} holds files that are no part of the conversion ({some(others)}), so --overwrite leaves it alone; "
            "move them, or name a new folder"
        )


def check_apart(out: Path, read: Iterable[Path]) -> None:
    """SettingsError where something that is read lies in a folder that is to be replaced."""
    place = out.resolve()
    if not _listed(out):
        return
    if inside := next((path for path in read if path.resolve().is_relative_to(place)), None):
        raise SettingsError(f"{inside} is read and lies in {out}, so --overwrite leaves it alone; name a new folder")


@contextmanager
def filled(out: Path) -> Iterator[Path]:
    """A folder to write into, whose files are moved into `out` at the end; nothing is left of it where that fails.

    An earlier conversion in `out` goes when all is written, and none of its files before.
    """
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    unfinished = out / f"{UNFINISHED}{os.getpid()}"
    for left in out.glob(f"{UNFINISHED}*"):
        shutil.rmtree(left)
    try:
        unfinished.mkdir(parents=True)
        yield unfinished
        write_json(unfinished / LISTING, sorted([*_files(unfinished), LISTING]))
        _remove_earlier(out)
        for path in sorted(unfinished.iterdir(), key=lambda path: path.name == LISTING):
            path.rename(out / path.name)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        for folder in made:
            with suppress(OSError):  # it holds what was written
                folder.rmdir()


def _remove_earlier(out: Path) -> None:
    own = _listed(out)
    for name in list(_files(out)):
        if name in own:
            (out / name).unlink()
    for folder, _, _ in os.walk(out, topdown=False):
        if not _is_unfinished(Path(folder).relative_to(out)) and Path(folder) != out:
            with suppress(OSError):  # others have put something into it meanwhile
                Path(folder).rmdir()


def _listed(out: Path) -> frozenset[str]:
    """The files of an earlier conversion, by their paths in it; none where `out` is no such folder."""
    with suppress(OSError, ValueError, TypeError):
        return frozenset(json.loads((out / LISTING).read_text(encoding="utf-8")))
    return frozenset()


def _files(folder: Path) -> Iterator[str]:
    """Everything below a folder but folders, by its path there; not what waits to be moved."""
    for above, folders, names in os.walk(folder):
        links = [name for name in folders if Path(above, name).is_symlink()]
        paths = [Path(above, name).relative_to(folder) for name in (*names, *links)]
        yield from (path.as_posix() for path in paths if not _is_unfinished(path))


def _is_unfinished(path: Path) -> bool:
    return bool(path.parts) and path.parts[0].startswith(UNFINISHED)
