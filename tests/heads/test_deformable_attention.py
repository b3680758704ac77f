"""Deformable attention: a slow reference by hand and transformers' own, in values and in every gradient."""

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn
from transformers.models.deformable_detr.modeling_deformable_detr import MultiScaleDeformableAttention

from dinotune.heads.deformable_attention import attend_by_gather, attend_by_grid_sample, deformable_attention

Attention = Callable[[Tensor, Sequence[tuple[int, int]], Tensor, Tensor], Tensor]
RAGGED = [(5, 7), (3, 4), (1, 2)]
FORMS = [attend_by_gather, attend_by_grid_sample]


def slow(values: Tensor, level_shapes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor) -> Tensor:
    """Loops over everything, bilinear by hand."""
    batch, queries, heads, levels, points, _ = locations.shape
    width = values.shape[3]
    answers = torch.zeros(batch, queries, heads, width, dtype=values.dtype)
    for b, q, h, level, p in torch.cartesian_prod(*(torch.arange(n) for n in (batch, queries, heads, levels, points))):
        rows, columns = level_shapes[level]
        first = sum(r * c for r, c in level_shapes[:level])
        x = locations[b, q, h, level, p, 0] * columns - 0.5
        y = locations[b, q, h, level, p, 1] * rows - 0.5
        left, upper = math.floor(x.item()), math.floor(y.item())
        for row in (upper, upper + 1):
            for column in (left, left + 1):
                if 0 <= row < rows and 0 <= column < columns:
                    share = (1 - (x - column).abs()) * (1 - (y - row).abs())
                    cell = values[b, first + row * columns + column, h]
                    answers[b, q, h] = answers[b, q, h] + weights[b, q, h, level, p] * share * cell
    return answers.flatten(2)


def theirs(values: Tensor, level_shapes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor) -> Tensor:
    return MultiScaleDeformableAttention()(  # type: ignore[no-any-return]
        values, None, level_shapes, None, locations, weights, 64
    )


def make(dtype: torch.dtype, batch: int = 2, queries: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Values, locations (a fifth of them outside) and weights."""
    torch.manual_seed(0)
    cells = sum(rows * columns for rows, columns in RAGGED)
    values = torch.randn(batch, cells, 2, 4, dtype=dtype)
    locations = torch.rand(batch, queries, 2, len(RAGGED), 3, 2, dtype=dtype) * 1.4 - 0.2
    return values, locations, torch.rand(batch, queries, 2, len(RAGGED), 3, dtype=dtype)


def values_and_gradients(attend: Attention, dtype: torch.dtype) -> list[Tensor]:
    values, locations, weights = (tensor.requires_grad_() for tensor in make(dtype))
    answers = attend(values, RAGGED, locations, weights)
    direction = torch.linspace(-1, 1, answers.numel(), dtype=dtype).view_as(answers)
    return [answers.detach(), *torch.autograd.grad((answers * direction).sum(), (values, locations, weights))]


@pytest.mark.parametrize("attend", [deformable_attention, *FORMS])
@pytest.mark.parametrize("reference", [slow, theirs])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_equals_the_references(attend: Attention, reference: Attention, dtype: torch.dtype, tolerance: float) -> None:
    for found, expected in zip(
        values_and_gradients(attend, dtype), values_and_gradients(reference, dtype), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("attend", FORMS)
def test_cell_centres_read_their_cell_and_far_points_read_nothing(attend: Attention) -> None:
    values = torch.arange(1.0, 13).view(1, 12, 1, 1)
    centre = torch.tensor([(2 + 0.5) / 4, (1 + 0.5) / 3])
    for location, expected in ((centre, values[0, 1 * 4 + 2, 0]), (centre + 5, 0), (centre - 1e9, 0)):
        found = attend(values, [(3, 4)], location.view(1, 1, 1, 1, 1, 2), torch.ones(1, 1, 1, 1, 1))
        assert found.item() == pytest.approx(float(expected), abs=1e-5)


@pytest.mark.parametrize("attend", FORMS)
@pytest.mark.parametrize(("batch", "queries"), [(2, 0), (0, 3)])
def test_no_queries_and_no_pictures(attend: Attention, batch: int, queries: int) -> None:
    values, locations, weights = make(torch.float32, batch, queries)
    assert attend(values, RAGGED, locations, weights).shape == (batch, queries, 8)


def test_bfloat16_values_are_read_in_the_precision_of_the_locations() -> None:
    values, locations, weights = make(torch.float32)
    found = deformable_attention(values.bfloat16(), RAGGED, locations, weights.bfloat16())
    expected = slow(values.bfloat16().float(), RAGGED, locations, weights.bfloat16().float())
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


class Attend(nn.Module):
    def forward(self, values: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
        return deformable_attention(values, RAGGED, locations, weights)


def test_exported_graphs_hold_grid_samples() -> None:
    """ONNX knows GridSample since opset 16; it has nothing like weighted bags."""
    exported = torch.export.export(Attend(), make(torch.float32))
    names = [str(node.target) for node in exported.graph.nodes if node.op == "call_function"]
    assert sum("grid_sampler" in name for name in names) == len(RAGGED)
    assert not any("embedding_bag" in name for name in names)
    torch.testing.assert_close(exported.module()(*make(torch.float32)), Attend()(*make(torch.float32)))
