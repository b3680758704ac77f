"""CIFAR's pictures as PNG files, `CLASS/00001.png`: written once, all of them or none."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from dinotune.data.formats.base import existing
from dinotune.data.formats.cifar.batches import Batch
from dinotune.data.problems import FileError, Kind, Problem, counted, some
from dinotune.errors import DataError

THREADS = min(8, os.cpu_count() or 1)


def unpacked(batch: Batch, folder: Path) -> list[Path]:
    """The files of a split's pictures, in order; they are written unless the folder is there.

    Raises:
        FileError: the folder is there, but lacks some of them.
        DataError: it cannot be written.
    """
    names = [Path(batch.names[label], f"{number:05}.png") for number, label in enumerate(batch.labels.tolist(), 1)]
    if not folder.is_dir():
        _unpack(batch, names, folder)
    paths = [folder / name for name in names]
    if missing := sorted(set(paths) - existing(paths)):
        message = (
            f"{counted(len(missing), 'picture')} of {len(paths)} not in it ({some(p.name for p in missing)}), as if of "
            "other files; remove this folder, and it is written anew"
        )
        raise FileError(Problem(Kind.BROKEN_BATCH, folder, message))
    return paths


def _unpack(batch: Batch, names: list[Path], folder: Path) -> None:
    """Write into a folder beside it, then give that its name: what was interrupted is never taken for whole."""
    unfinished = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(unfinished, ignore_errors=True)

    def save(index: int) -> None:
        Image.fromarray(batch.pixels[index]).save(unfinished / names[index])

    try:
        for parent in {name.parent for name in names}:
            (unfinished / parent).mkdir(parents=True)
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(save, range(len(names))))
        unfinished.rename(folder)
    except OSError as error:
        if not folder.is_dir():  # otherwise another process was faster
            message = f"{folder}: the pictures cannot be unpacked ({error.strerror or error}); name another folder with"
            raise DataError(f"{message} data.train.images and data.test.images") from None
    finally:
        for left in folder.parent.glob(f".{folder.name}.*.tmp"):
            shutil.rmtree(left, ignore_errors=True)
