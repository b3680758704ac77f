"""Guidance: equals the attention of CLS written out in full, image by image."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from dinotune.backbones.guidance import as_guidance, cls_attention
from dinotune.backbones.positions import rope
from tests.backbones.dino_references import (
    DEPTH,
    HEADS,
    PATCH,
    SIZE_HW,
    VITS,
    WIDTH,
    images,
    load,
    meta_state,
    normalised,
    oracle,
    reference_blocks,
    reference_rotation,
    rotate,
    write_snapshot,
)

TOLERANCE = 1e-5


def brute_force(family: str, meta: dict[str, Tensor], pixels: Tensor, *, rotary: bool) -> Tensor:
    """Rows of CLS of softmax(Q K^T) in the last block, from Meta's weights; [batch, cells]."""
    block, patch = f"blocks.{DEPTH - 1}.", PATCH[family]
    x = reference_blocks(meta, pixels, patch)[-2]
    eps = 1e-5 if family.startswith("dinov3") else 1e-6
    x = functional.layer_norm(x, (WIDTH,), meta[f"{block}norm1.weight"], meta[f"{block}norm1.bias"], eps)
    projections = functional.linear(x, meta[f"{block}attn.qkv.weight"], meta[f"{block}attn.qkv.bias"]).chunk(3, -1)
    rotation = reference_rotation((pixels.shape[2] // patch, pixels.shape[3] // patch), WIDTH // HEADS)
    rows = []
    for query, key in zip(*(projection.chunk(HEADS, -1) for projection in projections[:2]), strict=True):
        turned = (rotate(query, rotation), rotate(key, rotation)) if rotary else (query, key)
        rows.append((turned[0] @ turned[1].transpose(1, 2) / math.sqrt(WIDTH // HEADS)).softmax(-1)[:, 0])
    return torch.stack(rows).mean(0)[:, -len(rotation) :]


def ours(family: str, folder: Path, pictures: Tensor) -> tuple[Tensor, dict[str, Tensor], Tensor]:
    """Attention of CLS by the backbone, Meta's weights, and the pixels that models see."""
    model = oracle(family)
    backbone = load(write_snapshot(model, folder), blocks=(DEPTH - 2, DEPTH - 1), tap_norm="none")
    sequence = backbone.frozen_part(pictures).taps[DEPTH - 2]
    patch = PATCH[family]
    grid_hw = (pictures.shape[2] // patch, pictures.shape[3] // patch)
    rotation = rope(grid_hw, WIDTH // HEADS, 100.0, pictures.device) if family.startswith("dinov3") else None
    block = backbone.get_submodule(f"encoder.blocks.{DEPTH - 1}")
    with torch.no_grad():
        attention = cls_attention(block, sequence, backbone.prefix_tokens, rotation)
    return attention, meta_state(model, family), normalised(pictures, backbone)


@pytest.mark.parametrize("family", VITS)
def test_equals_attention_written_out_in_full(family: str, tmp_path: Path) -> None:
    attention, meta, pixels = ours(family, tmp_path, images(family))
    rotary = family.startswith("dinov3")
    wanted = brute_force(family, meta, pixels, rotary=rotary)
    assert torch.allclose(attention, wanted, atol=TOLERANCE, rtol=0)
    assert (attention.sum(1) < 1).all(), "the prefix tokens have their share"
    if rotary:
        without = brute_force(family, meta, pixels, rotary=False)
        assert (attention - without).abs().max() > 30 * TOLERANCE, "the tolerance tells RoPE from none"


@pytest.mark.parametrize("family", ["dinov2", "dinov3"])
def test_of_one_image_does_not_depend_on_the_others(family: str, tmp_path: Path) -> None:
    pictures = images(family, batch=2)
    grid_hw = (SIZE_HW[family][0] // PATCH[family], SIZE_HW[family][1] // PATCH[family])
    both = as_guidance(ours(family, tmp_path / "a", pictures)[0], grid_hw)
    other = as_guidance(ours(family, tmp_path / "b", torch.stack([pictures[0], 1 - pictures[1]]))[0], grid_hw)
    assert torch.equal(both[0], other[0])
    assert not torch.allclose(both[1], other[1], atol=0.01)
    assert both.shape == (2, 1, *grid_hw)
    assert [(float(one.min()), float(one.max())) for one in both] == [(0, 1), (0, 1)]


@pytest.mark.parametrize("value", [0.0, 1e-30, 0.25, 1.0])
def test_even_attention_gives_zeros_and_rounding_stays_small(value: float) -> None:
    even = torch.full((2, 6), value)
    assert torch.equal(as_guidance(even, (2, 3)).nan_to_num(9), torch.zeros(2, 1, 2, 3))
    even[1, 2] *= 1 + 1e-7
    assert as_guidance(even, (2, 3)).max() < 0.05


def test_map_lies_as_the_patches_do() -> None:
    guidance = as_guidance(torch.arange(6.0)[None], (2, 3))
    assert torch.allclose(guidance[0, 0], torch.tensor([[0, 0.2, 0.4], [0.6, 0.8, 1.0]]))
