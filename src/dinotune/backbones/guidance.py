"""Where a ViT looks: attention of its CLS token to the patches in one block, as a map per image."""

from typing import Any

import torch
from jaxtyping import Float
from timm.layers.pos_embed_sincos import apply_rot_embed_cat
from timm.models.eva import EvaAttention
from torch import Tensor, nn
from torch.nn import functional

ROUNDING = 1e-5
"""Attention that varies less than this share of its largest value varies by rounding alone."""


def cls_attention(
    block: nn.Module,
    sequence: Float[Tensor, "batch tokens width"],
    prefix_tokens: int,
    rotation: Float[Tensor, "cells twice_head_width"] | None,
) -> Float[Tensor, "batch cells"]:
    """Attention of the CLS token to each patch in `block`, whose input is `sequence`; mean over heads, fp32.

    Prefix tokens take part in the softmax, as in the model, and are left out afterwards: a row sums to
    less than one. Only the row of CLS is computed, so memory grows with the patches, not their square.
    """
    attention: Any = block.get_submodule("attn")
    with torch.autocast(sequence.device.type, enabled=False):
        tokens = block.get_submodule("norm1")(sequence.float())
        query, key = _query_and_keys(attention, tokens)
        if rotation is not None:  # neither CLS nor registers are rotated
            patches = apply_rot_embed_cat(key[:, :, prefix_tokens:], rotation, half=True)
            key = torch.cat([key[:, :, :prefix_tokens], patches], dim=2)
        scores = query @ key.transpose(2, 3) * query.shape[-1] ** -0.5
        row: Tensor = scores.softmax(dim=-1)[:, :, 0, prefix_tokens:]
        return row.mean(dim=1)


def as_guidance(attention: Float[Tensor, "batch cells"], grid_hw: tuple[int, int]) -> Float[Tensor, "batch 1 h w"]:
    """Attention stretched to [0, 1] in each image by itself, as a map; even attention gives zeros."""
    low, high = attention.amin(1, keepdim=True), attention.amax(1, keepdim=True)
    span = torch.maximum(high - low, high * ROUNDING).clamp(min=torch.finfo(attention.dtype).tiny)
    return ((attention - low) / span).reshape(-1, 1, *grid_hw)


def _query_and_keys(attention: Any, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Query of CLS [batch, heads, 1, head width] and all keys [batch, heads, tokens, head width]."""
    query_weight, key_weight, _ = attention.qkv.weight.chunk(3)
    query_bias, key_bias = _biases(attention)
    query, key = (
        functional.linear(part, weight, bias).unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
        for part, weight, bias in ((tokens[:, :1], query_weight, query_bias), (tokens, key_weight, key_bias))
    )
    return attention.q_norm(query), attention.k_norm(key)


def _biases(attention: Any) -> tuple[Tensor | None, Tensor | None]:
    """Biases of queries and keys: timm's Eva keeps them apart, its VisionTransformer in `qkv`."""
    if isinstance(attention, EvaAttention):
        return attention.q_bias, attention.k_bias
    if attention.qkv.bias is None:
        return None, None
    query_bias, key_bias, _ = attention.qkv.bias.chunk(3)
    return query_bias, key_bias
