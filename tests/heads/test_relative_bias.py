"""The bias from boxes to cells: a brute force over all cells, and what moving and scaling a box must do."""

import math

import pytest
import torch
from torch import Tensor

from dinotune.heads.plain_detr.relative_bias import BoxToCellBias, log_distances

HEADS = 4
STRIDE, GRID_HW, IMAGE_HW = 16, (3, 5), (48, 80)


def make(hidden: int = 8) -> BoxToCellBias:
    torch.manual_seed(0)
    return BoxToCellBias(HEADS, hidden, STRIDE)


def some_boxes() -> Tensor:
    """Two pictures of four boxes, some of which reach beyond the picture."""
    torch.manual_seed(1)
    return torch.rand(2, 4, 4)


def brute_force(bias: BoxToCellBias, boxes_cxcywh: Tensor) -> Tensor:
    """Both networks run for every cell by itself."""
    (rows, columns), (height, width) = GRID_HW, IMAGE_HW

    def scaled(pixels: float) -> float:
        return math.copysign(math.log2(abs(pixels) + 1) / math.log2(8), pixels)

    found = torch.zeros(2, HEADS, boxes_cxcywh.shape[1], rows * columns)
    for picture, boxes in enumerate(boxes_cxcywh):
        for query, (cx, cy, w, h) in enumerate(boxes.tolist()):
            for row in range(rows):
                for column in range(columns):
                    x, y = (column + 0.5) * width / columns, (row + 0.5) * height / rows
                    x_pair = [scaled((cx - w / 2) * width - x), scaled((cx + w / 2) * width - x)]
                    y_pair = [scaled((cy - h / 2) * height - y), scaled((cy + h / 2) * height - y)]
                    each = bias.along_x(torch.tensor(x_pair)) + bias.along_y(torch.tensor(y_pair))
                    found[picture, :, query, row * columns + column] = each
    return found


def test_equals_brute_force_over_cells() -> None:
    bias, boxes = make(), some_boxes()
    with torch.no_grad():
        expected = brute_force(bias, boxes)
        torch.testing.assert_close(bias(boxes, GRID_HW), expected, rtol=1e-4, atol=1e-5)
        transposed = brute_force(bias, boxes[..., [1, 0, 3, 2]])
        assert not torch.allclose(bias(boxes, GRID_HW), transposed, atol=1e-2), "x and y differ"


def test_a_box_and_its_bias_move_together() -> None:
    bias, boxes = make(), some_boxes()
    step = boxes.new_tensor([1 / GRID_HW[1], 1 / GRID_HW[0], 0, 0])
    with torch.no_grad():
        here = bias(boxes, GRID_HW).unflatten(3, GRID_HW)
        moved = bias(boxes + step, GRID_HW).unflatten(3, GRID_HW)
    torch.testing.assert_close(moved[..., 1:, 1:], here[..., :-1, :-1], rtol=1e-4, atol=1e-4)


def test_distances_count_in_pixels_on_a_log_scale() -> None:
    """Longer cells, the same shares: distances grow, by a third for every doubling once they are long."""
    edges = torch.tensor([[[-1.0, 3.0]]])
    near, far = (log_distances(edges, 4, stride) for stride in (250, 500))
    torch.testing.assert_close(far - near, near.sign() / 3, rtol=0, atol=1e-3)
    seven = log_distances(torch.tensor([[[0.5 + 7 / 16, 0.5 - 7 / 16]]]), 1, 16)
    torch.testing.assert_close(seven.flatten(), torch.tensor([1.0, -1.0]))


def test_networks_run_for_columns_and_rows_alone() -> None:
    bias, pairs = make(), []
    for network in (bias.along_x, bias.along_y):
        network.register_forward_hook(lambda _, inputs, __: pairs.append(inputs[0].shape))
    bias(some_boxes(), GRID_HW)
    assert pairs == [(2, 4, GRID_HW[1], 2), (2, 4, GRID_HW[0], 2)]


@pytest.mark.parametrize("shape", [(2, 0), (0, 3)])
def test_no_boxes(shape: tuple[int, int]) -> None:
    assert make()(torch.zeros(*shape, 4), GRID_HW).shape == (shape[0], HEADS, shape[1], 15)


def test_edges_far_away_and_empty_boxes_stay_finite() -> None:
    boxes = torch.tensor([[[0.5, 0.5, 0, 0], [1e4, -1e4, 1e4, 1e-8]]])
    assert torch.isfinite(make()(boxes, GRID_HW)).all()


def test_softmax_sees_every_parameter() -> None:
    """What raises all cells alike would learn from rounding errors only."""
    bias, boxes = make(), some_boxes()
    shares = bias(boxes, GRID_HW).softmax(-1)
    gradients = torch.autograd.grad((shares * torch.randn_like(shares)).sum(), list(bias.parameters()))
    assert [name for (name, _), g in zip(bias.named_parameters(), gradients, strict=True) if g.norm() < 1e-4] == []
