"""An ellipse about the place where a query began, as what its mask begins with.

A query and a cell alone do not say which of two objects that look alike is meant. The logit of a cell at (y, x) gets
S (1 - ((y - cy) / ry)^2 - ((x - cx) / rx)^2), where centre c and half axes r follow from the query (after the
Gaussian maps of Gao et al. 2021, SMCA-DETR). As that is a scalar product of something of the query with something of
the cell, both are more channels of what masks are made of anyway.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

SHARPNESS = 3.0
"""Logit in the centre."""
STARTING_AXIS = 2.0
"""Half axes before training, in cells of the backbone."""
LIMIT = 3.0
"""Half axes stay within exp(+-3) of that."""


class Ellipses(nn.Module):
    """Before training, a small circle about each query's place."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.shape = nn.Linear(width, 4)
        nn.init.zeros_(self.shape.weight)
        nn.init.zeros_(self.shape.bias)

    def of_queries(
        self, queries: Float[Tensor, "layers batch queries width"], places: Float[Tensor, "batch queries 2"]
    ) -> Float[Tensor, "layers batch queries 5"]:
        """Factors of 1, y, x, y^2 and x^2; `places` are rows and columns."""
        shift, size = self.shape(queries).float().chunk(2, dim=-1)
        centre = places + shift
        inverse = (STARTING_AXIS * size.clamp(-LIMIT, LIMIT).exp()).pow(-2)
        constant = 1 - (inverse * centre.square()).sum(-1, keepdim=True)
        return SHARPNESS * torch.cat([constant, 2 * inverse * centre, -inverse], dim=-1)

    @staticmethod
    def of_cells(grid_hw: tuple[int, int], finer: int, device: torch.device) -> Float[Tensor, "5 rows columns"]:
        """1, y, x, y^2 and x^2 of a grid `finer` times as fine as that of the places, in whose units they are."""
        rows, columns = ((torch.arange(side * finer, device=device) + 0.5) / finer - side / 2 for side in grid_hw)
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        return torch.stack([torch.ones_like(y), y, x, y.square(), x.square()])
