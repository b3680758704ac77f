"""Places at which masks are compared (Kirillov et al. 2020, PointRend; Cheng et al. 2022, Mask2Former, section 3.3).

Places are x and y as shares of the picture's sides, (0, 0) being its upper left corner.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

OVERSAMPLING = 3
"""How many places are drawn for each that the loss takes because the mask is unsure there (PointRend, appendix B)."""
UNSURE_SHARE = 0.75
"""Share of the places that are chosen so; the others are drawn evenly."""

Places = Float[Tensor, "#masks points 2"]


@dataclass(frozen=True)
class PlaceSampler:
    """Places for the masks of a batch: all cells where they are no more than asked for, else random ones."""

    points: int
    """How many places are asked for."""
    grid_hw: tuple[int, int]
    """Rows and columns of the masks."""
    device: torch.device
    generator: torch.Generator | None
    """What draws them; none takes the device's own."""

    @property
    def takes_all(self) -> bool:
        """Whether all cells are taken."""
        return self.grid_hw[0] * self.grid_hw[1] <= self.points

    def shared(self) -> Float[Tensor, "1 points 2"]:
        """Places for all masks of a picture: the centres of all cells, or places that are drawn evenly."""
        if not self.takes_all:
            return self._drawn(1, self.points)
        rows, columns = ((torch.arange(side, device=self.device) + 0.5) / side for side in self.grid_hw)
        return torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1).flatten(0, 1)[None]

    @torch.no_grad()
    def unsure(self, logits: Float[Tensor, "masks rows columns"], counted: Bool[Tensor, "1 height width"]) -> Places:
        """Places for each mask by itself: most of them where its logit is nearest to 0 among pixels that count."""
        chosen = int(UNSURE_SHARE * self.points)
        places = self._drawn(len(logits), OVERSAMPLING * self.points)
        certainty = values_at(logits, places).abs().masked_fill(share_at(counted, places) == 0, torch.inf)
        index = certainty.topk(chosen, dim=1, largest=False, sorted=False).indices
        best = places.take_along_dim(index[..., None], dim=1)
        return torch.cat([best, self._drawn(len(logits), self.points - chosen)], dim=1)

    def _drawn(self, masks: int, points: int) -> Tensor:
        return torch.rand(masks, points, 2, device=self.device, generator=self.generator)


def values_at(maps: Float[Tensor, "masks rows columns"], places: Places) -> Float[Tensor, "masks points"]:
    """Bilinear values of each map at its own places; beyond the centres of the outermost cells, theirs."""
    around = 2 * places.expand(len(maps), -1, -1)[:, :, None] - 1
    return F.grid_sample(maps[:, None], around, padding_mode="border", align_corners=False)[:, 0, :, 0]


def share_at(
    masks: Bool[Tensor, "_objects height width"], places: Places, rows: Int64[Tensor, "masks"] | None = None
) -> Float[Tensor, "masks points"]:
    """Bilinear values of 0/1 masks, as `values_at` but without a float for each of their pixels.

    Row i of the places is for the mask that entry i of `rows` names, or for the first one where there are no rows.
    """
    height, width = masks.shape[-2:]
    begins = 0 if rows is None else rows[:, None] * (height * width)
    pixel = places * places.new_tensor([width, height]) - 0.5
    corner = pixel.floor()
    right, lower = (pixel - corner).unbind(-1)
    x, y = corner.long().unbind(-1)
    parts = []
    for across, share_x in ((x, 1 - right), (x + 1, right)):
        for down, share_y in ((y, 1 - lower), (y + 1, lower)):
            index = begins + down.clamp(0, height - 1) * width + across.clamp(0, width - 1)
            parts.append(share_x * share_y * masks.take(index))
    return torch.stack(parts).sum(0)
