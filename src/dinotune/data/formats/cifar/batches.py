"""What CIFAR's files hold: pixels and classes, checked before anything is made of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8

from dinotune.data.formats.cifar.layout import Variant
from dinotune.data.formats.cifar.pickled import read_pickle, text
from dinotune.data.problems import FileError, Kind, Problem, some

SIDE = 32
"""Pixels of each picture, in height and width."""


@dataclass(frozen=True)
class Batch:
    """Pictures of one split with their classes."""

    pixels: UInt8[np.ndarray, "images 32 32 3"]
    labels: Int64[np.ndarray, "images"]
    names: tuple[str, ...]
    """Classes in order of their index."""


def read_batches(variant: Variant, split: str, folder: Path) -> Batch:
    """All pictures of a split, in order of its files.

    Raises:
        FileError: a file is missing, not readable, or not as CIFAR's files are.
    """
    names = _names(folder / variant.meta, variant.names_key)
    read = [_read(folder / file, variant.labels_key, len(names)) for file in variant.splits[split]]
    rows = np.concatenate([pixels for pixels, _ in read])
    planes = rows.reshape(-1, 3, SIDE, SIDE)  # all of red, all of green, all of blue
    return Batch(planes.transpose(0, 2, 3, 1), np.concatenate([labels for _, labels in read]), names)


def _names(file: Path, key: str) -> tuple[str, ...]:
    written = read_pickle(file).get(key)
    if not isinstance(written, list) or not written:
        raise _broken(file, f"no list {key} with the names of the classes")
    names = tuple(text(name) for name in written)
    if unfit := [name for name in names if not name or set(name) & set('/\\:\0"') or name.startswith(".")]:
        raise _broken(file, f"names of classes that are no names of folders: {some(map(repr, unfit))}")
    if len({name.lower() for name in names}) < len(names):
        raise _broken(file, "a class has the name of another")
    return names


def _read(file: Path, key: str, classes: int) -> tuple[np.ndarray, np.ndarray]:
    content = read_pickle(file)
    pixels, labels = content.get("data"), content.get(key)
    width = 3 * SIDE * SIDE
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape[1:] != (width,):
        raise _broken(file, f"data is {_described(pixels)}; it must be uint8 in rows of {width}")
    if not isinstance(labels, list) or not all(type(label) is int and 0 <= label < classes for label in labels):
        raise _broken(file, f"{key} is no list of whole numbers from 0 to {classes - 1}")
    if len(labels) != len(pixels):
        raise _broken(file, f"{len(pixels)} pictures, but {len(labels)} {key}")
    return pixels, np.array(labels, np.int64)


def _described(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {' x '.join(map(str, value.shape))}"
    return "missing" if value is None else type(value).__name__


def _broken(file: Path, message: str) -> FileError:
    return FileError(Problem(Kind.BROKEN_BATCH, file, message))
