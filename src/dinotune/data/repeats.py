"""Repeat-factor sampling: pictures with rare classes are seen several times per epoch.

Gupta et al. 2019 (LVIS), appendix B; here an epoch's number of repeats is fixed, so that epochs stay equally long.
"""

import numpy as np
from jaxtyping import Float64, Int64

from dinotune.data.records import Records
from dinotune.errors import DataError


def repeat_factors(records: Records, threshold: float) -> Float64[np.ndarray, "images"]:
    """r(I) = max over classes c in picture I of max(1, sqrt(threshold / f(c))); 1 for pictures without boxes.

    f(c) is the share of pictures that show class c. Crowd regions are no targets and do not count.

    Raises:
        DataError: only pixels say which classes a picture shows.
    """
    if threshold > 0 and records.mask_files is not None:
        raise DataError(
            f"data.repeat_rare: which classes a picture of {records.name} shows stands in the pixels of its mask alone; "
            "set it to 0"
        )
    images, labels = records.shown_classes(crowd=False)
    share = np.bincount(labels, minlength=len(records.labels)) / len(records)
    factors = np.ones(len(records))
    np.maximum.at(factors, images, np.sqrt(threshold / share[labels]))
    return factors


def number_of_repeats(more: Float64[np.ndarray, "images"]) -> int:
    """How many repeats an epoch has for pictures with the repeat factors 1 + `more`."""
    return round(float(more.sum()))


def draw_repeats(more: Float64[np.ndarray, "images"], generator: np.random.Generator) -> Int64[np.ndarray, "images"]:
    """How often each picture is repeated in one epoch: `number_of_repeats` in all, each in proportion to `more`.

    Systematic rounding: the shares are laid end to end in random order; marks at distance 1 from a random first one
    choose the pictures. Each gets its share rounded down or up, and on average exactly its share.
    """
    repeats = np.zeros(len(more), np.int64)
    total = number_of_repeats(more)
    if total > 0:
        order = generator.permutation(len(more))
        ends = np.cumsum(more[order]) * (total / more.sum())
        marks = np.minimum(np.floor(ends + generator.random()), total)
        marks[-1] = total  # the sum may miss it by rounding
        repeats[order] = np.diff(marks, prepend=0)
    return repeats
