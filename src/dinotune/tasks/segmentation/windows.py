"""Sliding windows: a large picture seen part by part, the scores averaged where windows overlap."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from dinotune import config
from dinotune.types import SemanticMaps

USUAL_OVERLAP = 2 / 3
"""Share of a window by which the next one is moved (DINOv3's evaluation: 341 of 512 pixels)."""

Score = Callable[[slice, slice], Float[Tensor, "batch classes _rows _columns"]]
"""From rows and columns of the network input to the scores of that part, on any grid."""


@dataclass(frozen=True)
class Windows:
    """Square windows in pixels of the network input."""

    side: int
    stride: int

    @classmethod
    def of(cls, settings: config.Evaluation, multiple: int) -> "Windows | None":
        """Those that the settings ask for, rounded up to what the model takes; none where pictures are seen whole."""
        if settings.window is None:
            return None
        side = -(-settings.window // multiple) * multiple
        return cls(side, min(settings.window_stride or max(1, int(settings.window * USUAL_OVERLAP)), side))

    def places(self, image_hw: tuple[int, int]) -> Iterator[tuple[slice, slice]]:
        """Rows and columns of every window; the last ones end with the picture, which may be smaller than a window."""
        for top in _starts(image_hw[0], self):
            for left in _starts(image_hw[1], self):
                yield slice(top, min(top + self.side, image_hw[0])), slice(left, min(left + self.side, image_hw[1]))


def _starts(length: int, windows: Windows) -> list[int]:
    last = max(length - windows.side, 0)
    return [min(index * windows.stride, last) for index in range(-(-last // windows.stride) + 1)]


def slide(image_hw: tuple[int, int], windows: Windows, score: Score) -> SemanticMaps:
    """The mean of the scores of all windows over each pixel of the network input, each enlarged to its pixels."""
    total = counts = None
    for rows, columns in windows.places(image_hw):
        hw = (rows.stop - rows.start, columns.stop - columns.start)
        scores = functional.interpolate(score(rows, columns).float(), size=hw, mode="bilinear", align_corners=False)
        if total is None or counts is None:
            total = scores.new_zeros(*scores.shape[:2], *image_hw)
            counts = torch.zeros(image_hw, device=scores.device)
        total[:, :, rows, columns] += scores
        counts[rows, columns] += 1
    assert total is not None
    assert counts is not None
    return SemanticMaps(total / counts)
