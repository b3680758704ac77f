"""Ellipses that masks begin as: the formula itself, at the query's place, on grids of any fineness."""

import pytest
import torch

from dinotune.heads.mask_decoder.ellipses import SHARPNESS, STARTING_AXIS, Ellipses
from dinotune.heads.mask_decoder.rotation import cell_places

WIDTH, GRID = 8, (6, 9)


def logits_of(ellipses: Ellipses, queries: torch.Tensor, places: torch.Tensor, finer: int) -> torch.Tensor:
    cells = Ellipses.of_cells(GRID, finer, queries.device)
    return torch.einsum("lbqc,chw->lbqhw", ellipses.of_queries(queries, places), cells)


@pytest.mark.parametrize("finer", [1, 4])
def test_the_product_is_the_formula(finer: int) -> None:
    torch.manual_seed(0)
    ellipses = Ellipses(WIDTH)
    torch.nn.init.normal_(ellipses.shape.weight)
    queries, places = torch.randn(2, 1, 3, WIDTH), torch.tensor([[[0.0, 0.0], [-1.5, 3.0], [2.0, -4.0]]])
    found = logits_of(ellipses, queries, places, finer)
    shift, size = ellipses.shape(queries).chunk(2, dim=-1)
    centre, axes = places + shift, STARTING_AXIS * size.clamp(-3, 3).exp()
    rows = (torch.arange(GRID[0] * finer) + 0.5) / finer - GRID[0] / 2
    columns = (torch.arange(GRID[1] * finer) + 0.5) / finer - GRID[1] / 2
    down = ((rows - centre[..., :1]) / axes[..., :1]).square()[..., :, None]
    across = ((columns - centre[..., 1:]) / axes[..., 1:]).square()[..., None, :]
    torch.testing.assert_close(found, SHARPNESS * (1 - down - across), rtol=1e-4, atol=1e-3)


def test_before_training_a_circle_lies_about_the_query_s_cell() -> None:
    places = cell_places(GRID, torch.device("cpu"))[None]
    found = logits_of(Ellipses(WIDTH), torch.randn(1, 1, 54, WIDTH), places, 1)[0, 0].flatten(1)
    assert found.argmax(1).tolist() == list(range(54)), "cells and places are counted alike"
    torch.testing.assert_close(found.amax(1), torch.full((54,), SHARPNESS))
    inside = (found > 0).view(6, 9, 6, 9)[3, 4]
    assert inside.sum() == 9, "radius 2: all within one cell, and none two away"
