"""The strides of a feature pyramid, as multiples of the backbone's own."""

import itertools
from typing import Annotated

from pydantic import AfterValidator, Field

from dinotune.config.base import PositiveFloat


def _doubling(factors: tuple[float, ...]) -> tuple[float, ...]:
    if any(b != 2 * a for a, b in itertools.pairwise(factors)):
        raise ValueError(f"{factors} do not double from level to level; use e.g. [0.5, 1, 2]")
    if factors[0] not in (0.25, 0.5, 1, 2, 4):
        raise ValueError(f"the finest level is {factors[0]}; use 0.25, 0.5, 1, 2 or 4")
    return factors


StrideFactors = Annotated[tuple[PositiveFloat, ...], Field(min_length=1), AfterValidator(_doubling)]
