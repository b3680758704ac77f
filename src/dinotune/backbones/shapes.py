"""What an encoder looks like, and timm's modules built from that, without weights."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from timm.layers.mlp import SwiGLUPacked
from timm.layers.norm import LayerNorm
from timm.models.convnext import ConvNeXt
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from dinotune.backbones.variants import Variant

LAYER_SCALE = 1.0  # only random models keep it: checkpoints bring their own


@dataclass(frozen=True)
class VitShape:
    """Shape of a vision transformer of either family."""

    rotary: bool
    """RoPE on the patch tokens (DINOv3) instead of learned positions (DINOv2)."""
    width: int
    depth: int
    heads: int
    patch_size: int
    registers: int
    mlp_hidden: int
    """Hidden channels of the MLP; of each half of a gated one."""
    gated_mlp: bool
    grid: int = 0
    """Side of the square grid of stored positions; 0 with RoPE."""
    qkv_bias: bool = True
    norm_eps: float = 1e-6
    rope_theta: float = 100.0


@dataclass(frozen=True)
class ConvNextShape:
    """Shape of a ConvNeXt."""

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    norm_eps: float = 1e-6


Shape = VitShape | ConvNextShape


def shape_of(variant: Variant) -> Shape:
    """Shape of a published model; positions as Meta stores them (518 px)."""
    if variant.family == "convnext":
        return ConvNextShape(variant.widths, variant.depths)
    rotary = variant.family == "dinov3"
    return VitShape(
        rotary=rotary,
        width=variant.width,
        depth=variant.depth,
        heads=variant.heads,
        patch_size=variant.patch_size,
        registers=variant.registers,
        mlp_hidden=variant.mlp_hidden,
        gated_mlp=variant.gated_mlp,
        grid=0 if rotary else 518 // variant.patch_size,
        qkv_bias="vit7b" not in variant.id,
        norm_eps=1e-5 if rotary else 1e-6,
    )


def build_encoder(shape: Shape, device: str = "meta") -> nn.Module:
    """Modules of timm of this shape: no head, LayerScale 1, random weights (none on the meta device).

    RoPE and position interpolation are not timm's but those of `positions`.
    """
    match shape:
        case VitShape(rotary=True):
            return _eva(shape, device)
        case VitShape():
            return _vision_transformer(shape, device)
        case ConvNextShape():
            return ConvNeXt(
                num_classes=0,
                depths=shape.depths,
                dims=shape.widths,
                ls_init_value=LAYER_SCALE,
                norm_eps=shape.norm_eps,
                device=device,
            )


def _vision_transformer(shape: VitShape, device: str) -> nn.Module:
    # timm's packed SwiGLU counts both halves as hidden; the half channel saves int() from rounding down.
    hidden = shape.mlp_hidden * (2 if shape.gated_mlp else 1) + 0.5
    gated: dict[str, Any] = {"mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU} if shape.gated_mlp else {}
    return VisionTransformer(
        img_size=shape.grid * shape.patch_size,
        patch_size=shape.patch_size,
        num_classes=0,
        global_pool="token",
        embed_dim=shape.width,
        depth=shape.depth,
        num_heads=shape.heads,
        mlp_ratio=hidden / shape.width,
        qkv_bias=shape.qkv_bias,
        init_values=LAYER_SCALE,
        reg_tokens=shape.registers,
        no_embed_class=shape.registers > 0,  # timm folds the CLS position into the CLS token of these
        norm_layer=partial(LayerNorm, eps=shape.norm_eps),
        dynamic_img_size=True,
        device=device,
        **gated,
    )


def _eva(shape: VitShape, device: str) -> nn.Module:
    encoder = Eva(
        img_size=shape.patch_size,
        patch_size=shape.patch_size,
        num_classes=0,
        global_pool="token",
        embed_dim=shape.width,
        depth=shape.depth,
        num_heads=shape.heads,
        mlp_ratio=(shape.mlp_hidden + 0.5) / shape.width,
        qkv_bias=shape.qkv_bias,
        swiglu_mlp=shape.gated_mlp,
        swiglu_align_to=1 if shape.gated_mlp else 0,  # 1 aligns nothing but keeps the two projections apart
        init_values=LAYER_SCALE,
        num_reg_tokens=shape.registers,
        use_abs_pos_emb=False,
        use_rot_pos_emb=False,
        rope_rotate_half=True,
        use_fc_norm=False,
        norm_layer=partial(LayerNorm, eps=shape.norm_eps),
        dynamic_img_size=True,
        device=device,
    )
    blocks: Any = encoder.blocks if shape.qkv_bias else ()
    for block in blocks:
        # Key biases are masked to zero in DINOv3; the buffer is not part of any checkpoint.
        block.attn.k_bias = torch.zeros(shape.width, device="cpu")
    return encoder
