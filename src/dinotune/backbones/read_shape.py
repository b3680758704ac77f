"""The shape of an encoder, read from config.json (transformers' or timm's) or from the tensors."""

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from dinotune.backbones.keymaps import NamedWeights
from dinotune.backbones.shapes import ConvNextShape, Shape, VitShape, shape_of
from dinotune.backbones.variants import VARIANTS, find_architecture, find_variant
from dinotune.errors import WeightsError

_MODEL_TYPES = ("dinov2", "dinov2_with_registers", "dinov3_vit", "dinov3_convnext")
_HEAD_WIDTH = 64  # all published models but the 7B, which the table knows


def config_says_rotary(config: Mapping[str, Any]) -> bool | None:
    """Whether config.json names a model with RoPE; none without config.json."""
    if not config:
        return None
    return config.get("model_type") == "dinov3_vit" or "_dinov3" in str(config.get("architecture"))


def shape_from_config(config: Mapping[str, Any], named: NamedWeights, where: str, id_: str = "") -> Shape:
    """Shape that config.json states; only the grid of stored positions is read from the weights.

    Args:
        config: Content of config.json.
        named: The weights under timm's names.
        where: Path of config.json, for messages.
        id_: Id of the weights; may say that a ConvNeXt is DINOv3's where timm's tag does not.

    Raises:
        WeightsError: no DINO model, or a key of the shape is missing.
    """
    wanted = "silu" if config.get("use_gated_mlp") else "gelu"
    if config.get("hidden_act", wanted) != wanted and not config.get("use_swiglu_ffn"):
        raise WeightsError(
            f"{where}: hidden_act {config['hidden_act']!r} is not that of DINO's MLP; it must be {wanted!r}"
        )
    try:
        if "architecture" in config:
            return _from_timm(config, named, where, id_)
        match config.get("model_type"):
            case "dinov2" | "dinov2_with_registers":
                return _dinov2(config, named)
            case "dinov3_vit":
                return _dinov3(config)
            case "dinov3_convnext":
                return ConvNextShape(
                    tuple(config["hidden_sizes"]), tuple(config["depths"]), config.get("layer_norm_eps", 1e-6)
                )
            case other:
                known = ", ".join(_MODEL_TYPES)
                raise WeightsError(f"{where}: model_type {other!r} is no DINO backbone; known are {known}")
    except KeyError as error:
        raise WeightsError(f"{where}: lacks {error}, which the shape of the model needs") from None


def _dinov2(config: Mapping[str, Any], named: NamedWeights) -> VitShape:
    width, gated = config["hidden_size"], config.get("use_swiglu_ffn", False)
    hidden = int(width * config.get("mlp_ratio", 4))
    registers = config.get("num_register_tokens", 4) if config["model_type"] == "dinov2_with_registers" else 0
    return VitShape(
        rotary=False,
        width=width,
        depth=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        patch_size=config["patch_size"],
        registers=registers,
        # SwiGLU keeps two thirds of the hidden channels, rounded up to a multiple of 8 (Meta's code).
        mlp_hidden=(int(hidden * 2 / 3) + 7) // 8 * 8 if gated else hidden,
        gated_mlp=gated,
        grid=_grid(named.tensors, registers) or config.get("image_size", 518) // config["patch_size"],
        qkv_bias=config.get("qkv_bias", True),
        norm_eps=config.get("layer_norm_eps", 1e-6),
    )


def _dinov3(config: Mapping[str, Any]) -> VitShape:
    return VitShape(
        rotary=True,
        width=config["hidden_size"],
        depth=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        patch_size=config["patch_size"],
        registers=config.get("num_register_tokens", 0),
        mlp_hidden=config["intermediate_size"],
        gated_mlp=config.get("use_gated_mlp", False),
        qkv_bias=config.get("query_bias", True),
        norm_eps=config.get("layer_norm_eps", 1e-5),
        rope_theta=config.get("rope_theta", 100.0),
    )


def _from_timm(config: Mapping[str, Any], named: NamedWeights, where: str, id_: str) -> Shape:
    variant = find_architecture(config["architecture"])
    tag = str((config.get("pretrained_cfg") or config).get("tag", ""))
    if variant is not None and variant.family == "convnext" and "dinov3" not in tag + id_:
        raise WeightsError(
            f'{where}: this {config["architecture"]} (tag "{tag}") is not DINOv3\'s, but the same architecture with '
            f"other weights; use {variant.timm_id}, or set pretrained_cfg.tag to one that says dinov3"
        )
    if variant is None:
        known = ", ".join(sorted({variant.architecture for variant in VARIANTS}))
        raise WeightsError(f'{where}: architecture "{config["architecture"]}" is no DINO backbone; known are {known}')
    shape, changes = shape_of(variant), config.get("model_args") or {}
    if isinstance(shape, ConvNextShape):
        widths, depths = changes.get("dims", shape.widths), changes.get("depths", shape.depths)
        return replace(shape, widths=tuple(widths), depths=tuple(depths))
    width = changes.get("embed_dim", shape.width)
    hidden = width * shape.mlp_hidden // shape.width
    if "mlp_ratio" in changes:
        halves = 2 if shape.gated_mlp and not shape.rotary else 1  # timm counts both halves of a packed SwiGLU
        hidden = int(width * changes["mlp_ratio"]) // halves
    registers = changes.get("num_reg_tokens", changes.get("reg_tokens", shape.registers))
    return replace(
        shape,
        width=width,
        depth=changes.get("depth", shape.depth),
        heads=changes.get("num_heads", shape.heads),
        patch_size=changes.get("patch_size", shape.patch_size),
        registers=registers,
        mlp_hidden=hidden,
        grid=0 if shape.rotary else _grid(named.tensors, registers) or shape.grid,
        # timm's plain DINOv3 architectures have no biases (they are zero in all published models).
        qkv_bias=not shape.rotary or "_qkvb" in config["architecture"],
    )


def shape_from_tensors(named: NamedWeights, file_name: str, where: str) -> Shape:
    """Shape read off the tensors of a file without config.json (Meta's `.pth`).

    Raises:
        WeightsError: the tensors are not those of a DINO model, or of another one than the name says.
    """
    try:
        shape = _convnext_from(named.tensors) if named.is_convnext else _vit_from(named)
    except KeyError as error:
        raise WeightsError(f"{where}: has no tensor {error}; these are no weights of a DINO backbone") from None
    variant = find_variant(file_name)
    if variant is not None and _size(shape) != _size(shape_of(variant)):
        raise WeightsError(
            f"{where}: the name means {variant.id} (width and blocks {_size(shape_of(variant))}), "
            f"but the tensors have {_size(shape)}; give the file of that model, or another name"
        )
    return shape


def _size(shape: Shape) -> tuple[object, object]:
    return (shape.width, shape.depth) if isinstance(shape, VitShape) else (shape.widths, shape.depths)


def _count(tensors: Mapping[str, Tensor], pattern: str) -> int:
    found = [int(match[1]) for match in (re.match(pattern, name) for name in tensors) if match]
    return max(found, default=-1) + 1


def _convnext_from(tensors: Mapping[str, Tensor]) -> ConvNextShape:
    depths = tuple(_count(tensors, rf"stages\.{stage}\.blocks\.(\d+)\.") for stage in range(4))
    return ConvNextShape(tuple(len(tensors[f"stages.{stage}.blocks.0.gamma"]) for stage in range(4)), depths)


def _vit_from(named: NamedWeights) -> VitShape:
    tensors = named.tensors
    width, depth = tensors["cls_token"].shape[-1], _count(tensors, r"blocks\.(\d+)\.")
    registers = tensors["reg_token"].shape[1] if "reg_token" in tensors else 0
    mlp_hidden = tensors["blocks.0.mlp.fc2.weight"].shape[1]
    packed = "blocks.0.mlp.fc1.weight" in tensors and len(tensors["blocks.0.mlp.fc1.weight"]) == 2 * mlp_hidden
    heads = {variant.width: variant.heads for variant in VARIANTS if variant.heads}
    return VitShape(
        rotary=named.rotary,
        width=width,
        depth=depth,
        heads=heads.get(width) or max(1, width // _HEAD_WIDTH),
        patch_size=tensors["patch_embed.proj.weight"].shape[-1],
        registers=registers,
        mlp_hidden=mlp_hidden,
        gated_mlp=packed or "blocks.0.mlp.fc1_g.weight" in tensors,
        grid=_grid(tensors, registers),
        qkv_bias={"blocks.0.attn.q_bias", "blocks.0.attn.qkv.bias"} & tensors.keys() != set(),
        norm_eps=1e-5 if named.rotary else 1e-6,
    )


def _grid(tensors: Mapping[str, Tensor], registers: int) -> int:
    """Side of the stored grid; the CLS position is still among them where there are no registers."""
    if "pos_embed" not in tensors:
        return 0
    return math.isqrt(tensors["pos_embed"].shape[1] - (0 if registers else 1))
