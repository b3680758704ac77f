"""Layers of the DETR family: numbers that make boxes keep their precision."""

import pytest
import torch

from dinotune.heads.transformer import BoxLayers


def test_boxes_are_fp32_under_autocast() -> None:
    """Under bf16, which knows three digits, edges would be off by up to a pixel of 640."""
    torch.manual_seed(0)
    layers, queries = BoxLayers(64), torch.randn(2, 50, 64)
    with torch.no_grad():
        expected = layers(queries)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = layers(queries)
    assert torch.equal(found, expected)


@pytest.mark.parametrize("zero", [True, False])
def test_boxes_may_begin_where_they_are(zero: bool) -> None:
    steps = BoxLayers(8, zero=zero)(torch.randn(5, 8))
    assert bool(steps.any()) is not zero
