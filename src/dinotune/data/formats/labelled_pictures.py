"""Pictures with a class each, as records: their sizes are in the files alone."""

import itertools
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from dinotune.data.images import Header, read_header
from dinotune.data.problems import Findings, Kind
from dinotune.data.records import ImageRecord
from dinotune.errors import DataError

MOST_THREADS = 16


def labelled_pictures(listed: list[tuple[Path, int]], findings: Findings) -> list[ImageRecord]:
    """Pictures with the class of each, in this order, with ids from 1; those whose size cannot be read are left out."""
    headers = headers_of([path for path, _ in listed])
    nothing = (np.empty((0, 4)), np.empty(0, np.int64), np.empty(0, np.bool_), np.empty(0))
    ids = itertools.count(1)
    images = []
    for (path, label), header in zip(listed, headers, strict=True):
        if isinstance(header, DataError):
            findings.add(Kind.UNREADABLE_PICTURE, path, str(header).removeprefix(f"{path}: "))
        else:
            images.append(ImageRecord(path, next(ids), *header.upright_hw, *nothing, image_label=label))
    return images


def headers_of(paths: Sequence[Path]) -> list[Header | DataError]:
    """Sizes and turns of pictures, or why they cannot be read."""
    with ThreadPoolExecutor(min(MOST_THREADS, 4 * (os.cpu_count() or 1))) as pool:
        return list(pool.map(_header_or_error, paths))


def _header_or_error(path: Path) -> Header | DataError:
    try:
        return read_header(path)
    except DataError as error:
        return error
