"""Sliding windows equal a slow reference, cover every pixel, and end with the picture."""

import itertools

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from dinotune import config
from dinotune.tasks.segmentation.windows import Windows, slide


def reference(images: Tensor, side: int, stride: int, classes: int) -> Tensor:
    """Pixel by pixel: the mean of what every window that holds it says of it."""
    height, width = images.shape[-2:]
    tops = sorted({min(top, max(height - side, 0)) for top in range(0, height + stride, stride)})
    lefts = sorted({min(left, max(width - side, 0)) for left in range(0, width + stride, stride)})
    said: dict[tuple[int, int], list[Tensor]] = {}
    for top in tops:
        for left in lefts:
            part = images[:, :, top : top + side, left : left + side]
            scores = network(part, classes)
            scores = functional.interpolate(scores, size=part.shape[-2:], mode="bilinear", align_corners=False)
            for row in range(part.shape[-2]):
                for column in range(part.shape[-1]):
                    said.setdefault((top + row, left + column), []).append(scores[:, :, row, column])
    total = torch.zeros(len(images), classes, height, width)
    for (row, column), values in said.items():
        total[:, :, row, column] = torch.stack(values).mean(0)
    return total


def network(images: Tensor, classes: int) -> Tensor:
    """Scores on a coarse grid that depend on all of the window, as those of attention do."""
    cells = functional.avg_pool2d(images, 4)
    mixed = cells - cells.mean((2, 3), keepdim=True)
    weight = torch.linspace(-1, 1, classes * 3).view(classes, 3, 1, 1)
    return functional.conv2d(mixed, weight)


@pytest.mark.parametrize(
    ("hw", "side", "stride"),
    [((32, 44), 16, 10), ((16, 16), 16, 10), ((12, 40), 16, 16), ((8, 8), 16, 5), ((36, 20), 16, 4)],
)
def test_equal_to_a_slow_reference(hw: tuple[int, int], side: int, stride: int) -> None:
    images = torch.rand(2, 3, *hw, generator=torch.Generator().manual_seed(0))
    windows = Windows(side, stride)
    found = slide(hw, windows, lambda rows, columns: network(images[:, :, rows, columns], 5))
    torch.testing.assert_close(found.scores, reference(images, side, stride, 5), atol=1e-5, rtol=0)


@pytest.mark.parametrize("length", [1, 15, 16, 17, 25, 26, 27, 100])
def test_windows_cover_every_pixel_and_none_is_there_twice(length: int) -> None:
    places = list(Windows(16, 10).places((length, 16)))
    rows = [(rows.start, rows.stop) for rows, _ in places]
    assert len(set(rows)) == len(rows)
    assert rows[0][0] == 0
    assert rows[-1][1] == length
    assert all(later[0] <= earlier[1] for earlier, later in itertools.pairwise(rows)), "no gap"
    assert all(stop - start == min(16, length) for start, stop in rows)


def test_settings() -> None:
    assert Windows.of(config.Evaluation(), 16) is None
    assert Windows.of(config.Evaluation(window=512), 16) == Windows(512, 341), "as DINOv3 is evaluated"
    assert Windows.of(config.Evaluation(window=500), 16) == Windows(512, 333)
    assert Windows.of(config.Evaluation(window=64, window_stride=99), 16) == Windows(64, 64), "no gaps"
    assert Windows.of(config.Evaluation(window=1), 16) == Windows(16, 1)
