"""Small CIFAR data sets in the layout of the real ones: pickled batches of pictures in one colour per class."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from dinotune.data.formats.cifar.layout import CIFAR_10, CIFAR_100, Variant

PALETTE = {
    "black": (0, 0, 0), "blue": (0, 0, 255), "cyan": (0, 255, 255), "green": (0, 255, 0), "grey": (128, 128, 128),
    "magenta": (255, 0, 255), "red": (255, 0, 0), "white": (255, 255, 255), "yellow": (255, 255, 0),
}  # fmt: skip
"""Colour of each class."""

NAMES = tuple(PALETTE)


def write_cifar(
    root: Path, variant: Variant = CIFAR_10, *, per_file: int = 9, protocol: int = 4, as_bytes: bool = False
) -> Path:
    """The folder of batches; its pictures have the classes in turn, and one pixel that tells which picture it is."""
    folder = root / variant.folder
    folder.mkdir(parents=True)
    number = 0
    for files in variant.splits.values():
        for name in files:
            labels = [(number + index) % len(NAMES) for index in range(per_file)]
            content: dict[str, Any] = {"data": _rows(labels, number), variant.labels_key: labels, "batch_label": name}
            if variant is CIFAR_100:
                content["coarse_labels"] = [0] * per_file
            dump(folder / name, content, protocol, as_bytes=as_bytes)
            number += per_file
    names: list[Any] = [name.encode() for name in NAMES] if as_bytes else list(NAMES)
    dump(folder / variant.meta, {variant.names_key: names}, protocol, as_bytes=as_bytes)
    return folder


def dump(file: Path, content: dict[str, Any], protocol: int = 4, *, as_bytes: bool = False) -> None:
    """Pickle a dictionary, its keys as Python 2 had them where wanted."""
    keyed = {key.encode() if as_bytes else key: value for key, value in content.items()}
    file.write_bytes(pickle.dumps(keyed, protocol=protocol))


def _rows(labels: list[int], first: int) -> np.ndarray:
    """Rows of 3072: all of red, all of green, all of blue."""
    planes = np.zeros((len(labels), 3, 32, 32), np.uint8)
    for index, label in enumerate(labels):
        planes[index] = np.array(PALETTE[NAMES[label]], np.uint8)[:, None, None]
        planes[index, :, 0, 1] = (first + index) % 256
    return planes.reshape(len(labels), 3072)
