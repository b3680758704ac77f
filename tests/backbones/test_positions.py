"""Learned positions and RoPE against equations written out in the test."""

import pytest
import torch

from dinotune.backbones.positions import interpolate_positions, rope
from tests.backbones.dino_references import reference_positions, reference_rotation

STORED = torch.randn(1, 37 * 37, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size_hw", [(224, 224), (448, 630), (518, 518), (98, 700)])
@pytest.mark.parametrize("offset", [0.1, 0.0])
def test_learned_positions_equal_the_official_ones(size_hw: tuple[int, int], offset: float) -> None:
    grid_hw = (size_hw[0] // 14, size_hw[1] // 14)
    ours = interpolate_positions(STORED, grid_hw, offset=offset)
    wanted, other = (reference_positions(STORED, grid_hw, antialias=choice) for choice in (not offset, bool(offset)))
    assert ours.shape == (1, grid_hw[0] * grid_hw[1], 8)
    assert torch.allclose(ours, wanted, atol=1e-4)
    assert torch.allclose(ours, other, atol=1e-4) is (grid_hw == (37, 37))  # the two ways do differ


@pytest.mark.parametrize("grid_hw", [(6, 4), (3, 40)])
def test_rope_equals_rotation_by_complex_numbers(grid_hw: tuple[int, int]) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        sine, cosine = rope(grid_hw, 32, 100.0, torch.device("cpu")).chunk(2, -1)
    rotation = reference_rotation(grid_hw, 32)
    assert sine.dtype == torch.float32
    assert torch.allclose(cosine, rotation.real.tile(2), atol=1e-5)
    assert torch.allclose(sine, rotation.imag.tile(2), atol=1e-5)


def test_rescaled_rope_draws_one_factor_for_all_coordinates() -> None:
    torch.manual_seed(3)
    plain = rope((4, 6), 16, 100.0, torch.device("cpu"))
    assert not torch.allclose(rope((4, 6), 16, 100.0, torch.device("cpu"), rescale=True), plain, atol=1e-3)
    assert torch.equal(rope((4, 6), 16, 100.0, torch.device("cpu")), plain)
