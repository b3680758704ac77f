"""DAGA's layers equation by equation, their sizes, and how they begin."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from dinotune.adapters.daga_v1 import DagaV1Layer
from dinotune.adapters.daga_v2 import DagaV2Layer, GuidanceEncoder

WIDTH, GRID = 32, (5, 4)


def size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture(autouse=True)
def _same_numbers() -> None:
    torch.manual_seed(0)


def randomised(module: nn.Module) -> nn.Module:
    """Every parameter and statistic moved, so that each has its part in the output."""
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_floating_point():
                tensor.add_(torch.rand(tensor.shape) * 0.3)
    return module.eval()


def inputs(batch: int = 2) -> tuple[Tensor, Tensor]:
    """Patches and guidance."""
    return torch.randn(batch, GRID[0] * GRID[1], WIDTH), torch.rand(batch, 1, *GRID)


def sigmoid(x: Tensor) -> Tensor:
    return 1 / (1 + (-x).exp())


def layer_norm(x: Tensor, norm: nn.LayerNorm) -> Tensor:
    deviation = x - x.mean(-1, keepdim=True)
    return deviation / (deviation.square().mean(-1, keepdim=True) + 1e-5).sqrt() * norm.weight + norm.bias


def linear(x: Tensor, layer: nn.Linear) -> Tensor:
    return x @ layer.weight.T + layer.bias


@pytest.mark.parametrize(("width", "parameters"), [(384, 133_729), (768, 258_145), (1024, 341_089)])
def test_size_of_version_1(width: int, parameters: int) -> None:
    assert size(DagaV1Layer(width, 96)) == parameters


@pytest.mark.parametrize(("ratio", "parameters"), [(0.25, 1_699_404), (0.14, 1_176_824)])
def test_size_of_version_2(ratio: float, parameters: int) -> None:
    assert size(GuidanceEncoder()) == 19_008
    assert 19_008 + 4 * size(DagaV2Layer(768, int(ratio * 768), 0.1, 0.1)) == parameters


def test_version_1_is_its_equations() -> None:
    layer = DagaV1Layer(WIDTH, 8)
    randomised(layer)
    x, g = inputs()
    summed = functional.conv2d(g, layer.over_guidance.weight, layer.over_guidance.bias, padding=1).clamp(min=0)
    u = layer_norm(linear(summed.sum((2, 3)) / (GRID[0] * GRID[1]), layer.summary), layer.summary_norm)
    y = sigmoid(linear(u, layer.gate))[:, None]
    t = layer_norm(x + 0.1 * linear(functional.gelu(linear(x, layer.down)), layer.up), layer.norm)
    assert torch.allclose(layer(x, g), x + layer.mix * y * (t - x), atol=1e-5)


def test_version_1_begins_near_the_identity_with_open_half_gates() -> None:
    layer = DagaV1Layer(WIDTH, 8)
    x, g = inputs()
    assert torch.allclose(layer(x, g), x + 0.01 * 0.5 * (layer.norm(x) - x), atol=1e-6)
    assert not torch.equal(layer(x, g), x)


def test_version_1_does_not_see_where_the_attention_is() -> None:
    layer = DagaV1Layer(WIDTH, 8)
    randomised(layer)
    x, g = inputs()
    assert torch.allclose(layer(x, g.flip(2, 3)), layer(x, g), atol=1e-2)
    g = torch.zeros(2, 1, 8, 8)
    g[:, :, 2, 2] = 1
    x = torch.randn(2, 64, WIDTH)
    assert torch.allclose(layer(x, g), layer(x, g.roll((3, 2), (2, 3))), atol=1e-6)


def reference_encoder(encoder: GuidanceEncoder, g: Tensor) -> Tensor:
    for number, stride in ((0, 1), (3, 2)):
        convolution, norm = encoder[number], encoder[number + 1]
        assert isinstance(convolution, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        g = functional.conv2d(g, convolution.weight, convolution.bias, stride=stride, padding=1)
        mean, spread = norm.running_mean, norm.running_var
        assert mean is not None
        assert spread is not None
        g = (g - mean.view(-1, 1, 1)) / (spread.view(-1, 1, 1) + 1e-5).sqrt()
        g = functional.gelu(g * norm.weight.view(-1, 1, 1) + norm.bias.view(-1, 1, 1))
    return g


def test_version_2_is_its_equations() -> None:
    encoder, layer = GuidanceEncoder(), DagaV2Layer(WIDTH, 8, 0.1, 0.1)
    randomised(encoder)
    randomised(layer)
    x, g = inputs()
    f = encoder(g)
    assert f.shape == (2, 64, 3, 2)
    assert torch.allclose(f, reference_encoder(encoder, g), atol=1e-5)
    first, _, second, norm = layer.summary
    assert isinstance(first, nn.Linear)
    assert isinstance(second, nn.Linear)
    assert isinstance(norm, nn.LayerNorm)
    u = layer_norm(linear(functional.gelu(linear(f.flatten(2).mean(2), first)), second), norm)
    logits = functional.conv2d(f, layer.places.weight, layer.places.bias)
    s = sigmoid(functional.interpolate(logits, GRID, mode="bilinear", align_corners=False))
    c = sigmoid(linear(u, layer.channels))[:, None]
    d = linear(functional.gelu(linear(x, layer.down)), layer.up)
    wanted = x + layer.strength * (c * (1 + layer.place_strength * s.flatten(1)[:, :, None])) * d
    assert torch.allclose(layer(x, f, GRID), wanted, atol=1e-5)


def test_version_2_begins_exactly_as_the_identity_with_open_half_gates() -> None:
    encoder, layer = GuidanceEncoder(), DagaV2Layer(WIDTH, 8, 0.1, 0.1)
    x, g = inputs()
    f = encoder(g)
    assert torch.equal(layer(x, f, GRID), x)
    nn.init.eye_(layer.up.weight)
    d = linear(functional.gelu(linear(x, layer.down)), layer.up)
    assert torch.allclose(layer.eval()(x, f, GRID), x + 0.1 * 0.5 * (1 + 0.1 * 0.5) * d, atol=1e-6)


def test_dropout_of_version_2_acts_while_training_only() -> None:
    layer = DagaV2Layer(WIDTH, 8, 0.5, 0.1)
    nn.init.ones_(layer.up.weight)
    x, g = inputs()
    f = GuidanceEncoder()(g)
    assert not torch.equal(layer(x, f, GRID), layer(x, f, GRID))
    layer.eval()
    assert torch.equal(layer(x, f, GRID), layer(x, f, GRID))


@pytest.mark.parametrize("grid_hw", [(1, 1), (2, 2), (2, 1), (3, 3)])
def test_one_small_picture_can_be_trained_on(grid_hw: tuple[int, int]) -> None:
    encoder = GuidanceEncoder().train()
    encoder(torch.rand(1, 1, *grid_hw)).sum().backward()
    weight = encoder.get_parameter("0.weight")
    assert weight.grad is not None
    assert weight.grad.isfinite().all()


def test_in_eval_the_encoder_sees_each_picture_alone() -> None:
    encoder = GuidanceEncoder()
    _, g = inputs(3)
    before = encoder(g)
    encoder.eval()
    alone = torch.cat([encoder(one[None]) for one in g])
    assert torch.allclose(encoder(g), alone, atol=1e-6)
    assert not torch.allclose(before, alone, atol=1e-2), "statistics of the batch while training"
