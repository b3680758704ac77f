"""Which network input size a picture gets: few sizes, no padding, shapes stretched by at most 10 %."""

import math

from dinotune import config

ASPECTS = (1.0, 7 / 6, 4 / 3, 3 / 2, 16 / 9, 2.0)
"""Long side divided by short side of the shared shapes; neighbours lie within a stretch of 1.10 of each other's middle."""

MOST_STRETCH = 1.10

LONGEST = 5 / 3
"""Limit of the longer side as a multiple of the shorter one's target, where none is set (COCO's 800 and 1333)."""


def network_size(
    picture_hw: tuple[int, int], data: config.Data, multiple: int, scale: float = 1.0, drawn: int | None = None
) -> tuple[int, int]:
    """Height and width of the network input for a picture of `picture_hw`, from sizes and settings alone.

    `square` and `middle`: `size` on both sides, at most `max_size`. `keep_aspect`: the shorter side takes `size`, or less where
    the longer one would pass `max_size`; the shape of `ASPECTS` that stretches the picture least is taken, or, where that is more than 10 %,
    the picture's own shape. `scale` multiplies `size` and `max_size`; `drawn`, one of `augmentation.sizes`, takes
    the place of `size` and leaves the limit alone. Sides are rounded up to `multiple` in the end, so the longer side
    may pass its limit by less than one multiple.
    """
    short = (drawn or data.size) * scale
    largest = data.size if drawn is None else max(data.augmentation.sizes or (drawn,))
    limit = (data.max_size or largest * LONGEST) * scale
    if data.resize != "keep_aspect":
        side = _round_up(min(short, limit), multiple)
        return side, side
    height, width = picture_hw
    own = max(height, width) / min(height, width)
    shapes = [_sides(aspect, short, limit, multiple) for aspect in ASPECTS]
    best = min(shapes, key=lambda sides: _ratio(sides[1] / sides[0], own))
    if _ratio(best[1] / best[0], own) > MOST_STRETCH:
        best = _sides(own, short, limit, multiple)
    return best if height <= width else best[::-1]


def _sides(aspect: float, short: float, limit: float, multiple: int) -> tuple[int, int]:
    """Short and long side of a shape, rounded up."""
    short = min(short, limit / aspect)
    return _round_up(short, multiple), _round_up(short * aspect, multiple)


def _ratio(first: float, second: float) -> float:
    return max(first / second, second / first)


def _round_up(side: float, multiple: int) -> int:
    # 640 * 1.1 is 704.0000000000001 in floating point; that must not cost another multiple.
    return max(math.ceil(round(side / multiple, 6)), 1) * multiple
