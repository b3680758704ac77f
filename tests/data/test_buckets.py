"""Network sizes: no padding, little stretch, few shapes."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dinotune import config
from dinotune.data.buckets import MOST_STRETCH, network_size
from dinotune.data.splits import read_records
from tests.data.small_sets import stretch


@pytest.mark.parametrize(
    ("settings", "picture", "multiple", "scale", "expected"),
    [
        ({"resize": "square", "size": 500}, (480, 640), 14, 1.0, (504, 504)),
        ({"resize": "square", "size": 640}, (1, 9999), 32, 1.1, (704, 704)),
        ({"size": 640}, (640, 640), 16, 1.0, (640, 640)),
        ({"size": 640}, (480, 640), 16, 1.0, (640, 864)),
        ({"size": 640}, (640, 480), 16, 1.0, (864, 640)),
        ({"size": 640}, (500, 620), 16, 1.0, (640, 752)),
        ({"size": 320}, (480, 640), 16, 0.8, (256, 352)),
        ({"size": 640, "max_size": 640}, (480, 640), 16, 1.0, (480, 640)),
        ({"size": 640, "max_size": 320}, (480, 640), 16, 1.0, (240, 320)),
        ({"size": 640, "max_size": 320}, (640, 640), 16, 1.1, (352, 352)),
        ({"resize": "square", "size": 640, "max_size": 320}, (480, 640), 16, 1.0, (320, 320)),
        ({"size": 640}, (1080, 1920), 16, 1.0, (608, 1072)),
        ({"size": 640}, (100, 1000), 16, 1.0, (112, 1072)),
    ],
)
def test_sizes(
    settings: dict[str, object],
    picture: tuple[int, int],
    multiple: int,
    scale: float,
    expected: tuple[int, int],
) -> None:
    assert network_size(picture, config.Data.model_validate(settings), multiple, scale) == expected


@pytest.mark.parametrize(
    ("max_size", "drawn", "picture", "expected"),
    [
        (1333, 480, (480, 640), (480, 640)),
        (1333, 800, (480, 640), (800, 1072)),
        (1333, 800, (480, 900), (752, 1344)),
        (1333, 480, (480, 900), (480, 864)),
        (600, 800, (480, 640), (464, 608)),
        (None, 480, (200, 500), (480, 1200)),
        (None, 800, (480, 900), (752, 1344)),
    ],
)
def test_drawn_sizes_leave_the_limit_alone(
    max_size: int | None, drawn: int, picture: tuple[int, int], expected: tuple[int, int]
) -> None:
    """`size` has no part in it; without `max_size`, the limit is 5/3 of the largest of `sizes`."""
    data = config.Data(size=640, max_size=max_size, augmentation=config.Augmentation(sizes=(480, 800)))
    assert network_size(picture, data, 16, drawn=drawn) == expected


def own_shape(picture: tuple[int, int], size: float, limit: float, multiple: int) -> tuple[int, int]:
    """The picture's own shape at the same target, rounded up: what could be had without shared shapes."""
    factor = min(size / min(picture), limit / max(picture))
    return tuple(math.ceil(round(side * factor / multiple, 6)) * multiple for side in picture)  # type: ignore[return-value]


@given(
    height=st.integers(16, 4000),
    width=st.integers(16, 4000),
    size=st.integers(64, 1024),
    multiple=st.sampled_from([8, 14, 16, 32, 56, 64]),
    scale=st.sampled_from([0.8, 1.0, 1.1]),
    longest=st.sampled_from([None, 0.6, 1.0, 1.3]),
)
@example(height=480, width=640, size=320, multiple=64, scale=0.8, longest=None)
def test_stretch_is_small_wherever_the_own_shape_allows(
    height: int, width: int, size: int, multiple: int, scale: float, longest: float | None
) -> None:
    max_size = None if longest is None else round(size * longest)
    data = config.Data(size=size, max_size=max_size)
    network = network_size((height, width), data, multiple, scale)
    assert all(side % multiple == 0 and side > 0 for side in network)
    limit = (max_size or size * 5 / 3) * scale
    possible = own_shape((height, width), size * scale, limit, multiple)
    assert stretch((height, width), network) <= max(MOST_STRETCH, stretch((height, width), possible)) + 1e-9
    assert min(network) < size * scale + multiple
    assert max(network) < limit + multiple
    turned = network_size((width, height), data, multiple, scale)
    assert turned == network[::-1]


@pytest.mark.parametrize("multiple", [14, 16, 32])
def test_photographs_share_few_sizes(multiple: int) -> None:
    """COCO-like sizes: one side 640, the other mostly 400 to 640."""
    generator = np.random.default_rng(0)
    others = generator.integers(400, 641, 500)
    pictures = [(640, int(other)) if i % 2 else (int(other), 640) for i, other in enumerate(others)]
    sizes = {network_size(picture, config.Data(), multiple) for picture in pictures}
    assert len(sizes) <= 11
    assert max(stretch(p, network_size(p, config.Data(), multiple)) for p in pictures) <= MOST_STRETCH


def test_real_photographs_share_few_sizes(shared_data: Path) -> None:
    records = read_records(config.Data(root=shared_data / "coco53"), "train", seed=0)
    sizes = {network_size((int(h), int(w)), config.Data(), 16) for h, w in records.sizes_hw}
    assert len(sizes) <= 8
