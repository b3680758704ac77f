"""Anchors and RoIAlign at the declared strides of the pyramid.

torchvision guesses strides from image and grid sizes, which is wrong for patch 14 and ragged grids.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import roi_align

CANONICAL_CELLS = 14
"""A box of 224 px is pooled at stride 16 (Lin et al. 2017, FPN, eq. 1): 14 cells to its side."""


class Anchors(nn.Module):
    """torchvision's anchors, laid out at declared strides."""

    def __init__(
        self, strides: Sequence[float], sizes: Sequence[Sequence[float]], aspect_ratios: Sequence[float]
    ) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.generator = AnchorGenerator(tuple(map(tuple, sizes)), tuple(tuple(aspect_ratios) for _ in strides))
        self.per_cell = len(sizes[0]) * len(aspect_ratios)

    def forward(self, levels: Sequence[Float[Tensor, "batch channels _h _w"]]) -> Float[Tensor, "anchors 4"]:
        """Anchors of one image over all levels, xyxy pixels of the network input, not clipped."""
        device = levels[0].device
        self.generator.set_cell_anchors(torch.float32, device)
        strides = [[torch.tensor(stride, device=device)] * 2 for stride in self.strides]
        return torch.cat(self.generator.grid_anchors([list(level.shape[-2:]) for level in levels], strides))


class RoiPooler(nn.Module):
    """RoIAlign that pools each box from the level that fits its size."""

    def __init__(self, strides: Sequence[float], output_size: int, sampling_ratio: int = 2) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.output_size = output_size
        self.sampling_ratio = sampling_ratio

    def level_of(self, boxes: Float[Tensor, "boxes 4"]) -> Tensor:
        """Index of the level for each box: floor(log2(side / (14 cells of the finest stride)))."""
        sides = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).clamp(min=1e-6).sqrt()
        level = torch.floor(torch.log2(sides / (CANONICAL_CELLS * self.strides[0])) + 1e-6)
        return level.clamp(0, len(self.strides) - 1).long()

    def forward(
        self,
        levels: Sequence[Float[Tensor, "batch channels _h _w"]],
        proposals: Sequence[Float[Tensor, "_proposals 4"]],
    ) -> Float[Tensor, "proposals channels size size"]:
        """Pooled windows of all proposals, image after image."""
        boxes = torch.cat(list(proposals))
        image_index = torch.repeat_interleave(
            torch.arange(len(proposals), device=boxes.device),
            torch.tensor([len(p) for p in proposals], device=boxes.device),
            output_size=len(boxes),  # spares a wait for the GPU
        )
        rois = torch.cat([image_index[:, None].to(boxes.dtype), boxes], dim=1)
        level_index = self.level_of(boxes)
        pooled = levels[0].new_zeros(len(boxes), levels[0].shape[1], self.output_size, self.output_size)
        for index, (level, stride) in enumerate(zip(levels, self.strides, strict=True)):
            rows = torch.where(level_index == index)[0]
            windows = roi_align(level, rois[rows], self.output_size, 1 / stride, self.sampling_ratio)
            pooled = pooled.index_put((rows,), windows)
        return pooled
