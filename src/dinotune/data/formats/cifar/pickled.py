"""Reads pickled numbers, texts, lists and arrays, and nothing else: a pickle can otherwise run any program."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from dinotune.data.problems import FileError, Kind, Problem


def read_pickle(file: Path) -> dict[str, Any]:
    """The pickled dictionary of a file, with its keys as text.

    Raises:
        FileError: the file is missing or broken, holds something else, or names what is not allowed.
    """
    try:
        with file.open("rb") as content:
            value = _Unpickler(content, encoding="latin1").load()
    except FileNotFoundError:
        raise FileError(Problem(Kind.BROKEN_BATCH, file, "does not exist; extract the archive again")) from None
    except Exception as error:  # a broken pickle can lead to any
        why = str(error) or type(error).__name__
        message = f"not readable: {why}; download and extract the official archive again"
        raise FileError(Problem(Kind.BROKEN_BATCH, file, message)) from None
    if not isinstance(value, dict):
        raise FileError(Problem(Kind.BROKEN_BATCH, file, f"holds a {type(value).__name__}, not a dictionary"))
    return {text(key): plain(entry) for key, entry in value.items()}


def text(value: Any) -> str:
    """A text, which Python 2 may have written as bytes."""
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


def plain(value: Any) -> Any:
    """Arrays as numpy's, all else as it is."""
    return value.values if isinstance(value, _Array) else value


class _Number:
    """Stands for numpy's dtype, whose own way out of a pickle trusts it too much."""

    def __init__(self, name: str, *_: Any) -> None:
        self.dtype = np.dtype(name)
        if self.dtype.kind not in "biuf":
            raise pickle.UnpicklingError(f"an array of {self.dtype} is not allowed")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Stands for numpy's array: first without values, which come as its state."""

    def __init__(self, *_: Any) -> None:
        self.values: np.ndarray = np.empty(0, np.uint8)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, number, by_columns, raw = state
        content = raw.encode("latin1") if isinstance(raw, str) else raw  # Python 2 wrote bytes as text
        self.values = np.frombuffer(content, number.dtype).reshape(shape, order="F" if by_columns else "C")


def _from_buffer(content: bytes, number: _Number, shape: tuple[int, ...], order: str, *_: Any) -> _Array:
    """An array as protocol 5 has it."""
    array = _Array()
    array.__setstate__((1, shape, number, order == "F", content))
    return array


def _encode(value: str, encoding: str) -> bytes:
    """Bytes that Python 3 wrote for Python 2."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"text in {encoding} is not allowed")
    return value.encode("latin1")


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Number,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("numpy._core.numeric", "_frombuffer"): _from_buffer,
    ("_codecs", "encode"): _encode,
}


class _Unpickler(pickle.Unpickler):
    """Every name that stands not above is refused before anything is loaded by it."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        try:
            return _ALLOWED[module_name, global_name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module_name}.{global_name} is not allowed in it") from None
