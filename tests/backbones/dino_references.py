"""Oracles for backbones: transformers' models with random weights, the same in Meta's and timm's layouts,
and a short independent forward pass written from the papers.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import transformers
from safetensors.torch import save_file
from timm.models import convnext, eva, vision_transformer
from torch import Tensor, nn
from torch.nn import functional

from dinotune import config
from dinotune.backbones.base import Backbone
from dinotune.backbones.load import build_backbone

WIDTH, HEADS, DEPTH = 128, 2, 3
"""Heads of 64, as Meta's files do not store their number."""
PATCH = {"dinov2": 14, "dinov2-gated": 14, "dinov2-reg": 14, "dinov3": 16, "dinov3-gated": 16}
VITS = tuple(PATCH)
FAMILIES = (*VITS, "convnext")
SIZE_HW = {**{family: (7 * patch, 4 * patch) for family, patch in PATCH.items()}, "convnext": (96, 64)}
"""A size that is not square, for each family."""


def oracle(family: str, seed: int = 0) -> Any:
    """Transformers' model with random weights and LayerScale near 1, so that every part matters."""
    vit: dict[str, Any] = {
        "hidden_size": WIDTH,
        "num_hidden_layers": DEPTH,
        "num_attention_heads": HEADS,
        "patch_size": PATCH.get(family),
    }
    gated = family.endswith("gated")
    model: Any
    match family:
        case "dinov2" | "dinov2-gated":
            model = transformers.Dinov2Model(transformers.Dinov2Config(**vit, image_size=70, use_swiglu_ffn=gated))
        case "dinov2-reg":
            model = transformers.Dinov2WithRegistersModel(
                transformers.Dinov2WithRegistersConfig(**vit, image_size=70, num_register_tokens=4)
            )
        case "dinov3" | "dinov3-gated":
            mlp: dict[str, Any] = {
                "intermediate_size": 96,
                "use_gated_mlp": gated,
                "hidden_act": "silu" if gated else "gelu",
            }
            model = transformers.DINOv3ViTModel(transformers.DINOv3ViTConfig(**vit, **mlp, num_register_tokens=4))
        case _:
            shape: dict[str, Any] = {"hidden_sizes": [8, 16, 32, 64], "depths": [1, 2, 1, 1]}
            model = transformers.DINOv3ConvNextModel(transformers.DINOv3ConvNextConfig(**shape))
    randomise(model, seed)
    return model.eval()


def randomise(module: nn.Module, seed: int) -> None:
    """Random weights large enough that positions, registers and every bias change the output."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            scale = ("norm" in name and name.endswith("weight")) or "lambda" in name or "gamma" in name
            spread = 0.5 if "token" in name or "position" in name else 0.1
            noise = torch.randn(parameter.shape, generator=generator) * spread
            parameter.copy_(noise + (1.0 if scale else 0.0))


def write_snapshot(model: Any, folder: Path) -> Path:
    """A snapshot folder in transformers' layout."""
    logging: Any = transformers.logging
    logging.disable_progress_bar()
    model.save_pretrained(folder)
    return folder


def meta_state(model: nn.Module, family: str) -> dict[str, Tensor]:
    """The weights under the names of Meta's files."""
    state = {name.removeprefix("model."): tensor.clone() for name, tensor in model.state_dict().items()}
    if family == "convnext":
        return _meta_convnext(state)
    v3 = family.startswith("dinov3")
    patch = "embeddings.patch_embeddings" if v3 else "embeddings.patch_embeddings.projection"
    out = {
        "cls_token": state["embeddings.cls_token"],
        "mask_token": state["embeddings.mask_token"].reshape(1, -1),
        **{f"patch_embed.proj.{part}": state[f"{patch}.{part}"] for part in ("weight", "bias")},
        **{f"norm.{part}": state[f"{'norm' if v3 else 'layernorm'}.{part}"] for part in ("weight", "bias")},
    }
    if "embeddings.register_tokens" in state:
        out["storage_tokens" if v3 else "register_tokens"] = state["embeddings.register_tokens"]
    if not v3:
        out["pos_embed"] = state["embeddings.position_embeddings"]
    for number in range(DEPTH):
        _meta_block(state, f"{'' if v3 else 'encoder.'}layer.{number}", out, f"blocks.{number}", v3)
    return out


def _meta_block(state: Mapping[str, Tensor], old: str, out: dict[str, Tensor], new: str, v3: bool) -> None:
    for number in "12":
        out[f"{new}.ls{number}.gamma"] = state[f"{old}.layer_scale{number}.lambda1"]
    for part in ("weight", "bias"):
        for number in "12":
            out[f"{new}.norm{number}.{part}"] = state[f"{old}.norm{number}.{part}"]
        zero = torch.zeros(WIDTH)
        projections = [state.get(f"{old}.attention.{letter}_proj.{part}", zero) for letter in "qkv"]
        out[f"{new}.attn.qkv.{part}"] = torch.cat(projections)
        out[f"{new}.attn.proj.{part}"] = state[f"{old}.attention.o_proj.{part}"]
        gate = state.get(f"{old}.mlp.gate_proj.{part}")
        up = state[f"{old}.mlp.{'up_proj' if v3 or gate is not None else 'fc1'}.{part}"]
        down = state[f"{old}.mlp.{'down_proj' if v3 or gate is not None else 'fc2'}.{part}"]
        if gate is None:
            names = {"fc1": up, "fc2": down}
        else:
            names = {"w1": gate, "w2": up, "w3": down} if v3 else {"w12": torch.cat([gate, up]), "w3": down}
        out.update({f"{new}.mlp.{name}.{part}": tensor for name, tensor in names.items()})
    if v3:
        out[f"{new}.attn.qkv.bias_mask"] = torch.full((3 * WIDTH,), math.nan)
        out["rope_embed.periods"] = torch.ones(WIDTH // HEADS // 4)


def _meta_convnext(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    words = {"depthwise_conv": "dwconv", "layer_norm": "norm", "pointwise_conv": "pwconv", ".layers.": "."}
    out = {}
    for name, tensor in state.items():
        stage = name.split(".")[1]
        new = name.replace(f"stages.{stage}.downsample_layers", f"downsample_layers.{stage}")
        for old_word, new_word in words.items():
            new = new.replace(old_word, new_word)
        out[new] = tensor
    return out | {f"norms.3.{part}": out[f"norm.{part}"].clone() for part in ("weight", "bias")}


def write_timm_snapshot(model: nn.Module, family: str, folder: Path) -> Path:
    """A snapshot folder in timm's layout, converted by timm's own code."""
    folder.mkdir()
    convert: Any
    arguments: dict[str, Any] = {"embed_dim": WIDTH, "depth": DEPTH, "num_heads": HEADS}
    match family:
        case "dinov2" | "dinov2-reg":
            architecture = "vit_small_patch14_reg4_dinov2" if family == "dinov2-reg" else "vit_small_patch14_dinov2"
            convert, arguments["img_size"] = vision_transformer.checkpoint_filter_fn, 70
        case "dinov2-gated":
            architecture, convert, arguments["img_size"] = (
                "vit_giant_patch14_dinov2", vision_transformer.checkpoint_filter_fn, 70,
            )  # fmt: skip
            arguments["mlp_ratio"] = 2 * 344 / WIDTH
        case "dinov3":
            architecture, convert = "vit_small_patch16_dinov3_qkvb", eva.checkpoint_filter_fn
            arguments["mlp_ratio"] = 96 / WIDTH
        case "dinov3-gated":
            architecture, convert = "vit_small_plus_patch16_dinov3_qkvb", eva.checkpoint_filter_fn
            arguments["mlp_ratio"] = 96 / WIDTH
        case _:
            architecture, convert = "convnext_tiny", convnext.checkpoint_filter_fn
            arguments = {"dims": [8, 16, 32, 64], "depths": [1, 2, 1, 1]}
    theirs = timm.create_model(architecture, pretrained=False, num_classes=0, **arguments)
    state = {name: tensor for name, tensor in meta_state(model, family).items() if not name.startswith("norms.")}
    theirs.load_state_dict(convert(state, theirs))
    save_file({name: tensor.contiguous() for name, tensor in theirs.state_dict().items()}, folder / "model.safetensors")
    statistics = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    tag = {"tag": "dinov3_lvd1689m"} if family == "convnext" else {}
    settings = {"architecture": architecture, "model_args": arguments, "pretrained_cfg": statistics | tag}
    (folder / "config.json").write_text(json.dumps(settings))
    return folder


def load(path: Path | str, **settings: Any) -> Backbone:
    """A backbone from a snapshot or file."""
    return build_backbone(config.Backbone(id=str(path), **settings))[0]


def images(family: str, batch: int = 2, seed: int = 5) -> Tensor:
    """Random pictures in [0, 1] of the family's non-square size."""
    return torch.rand(batch, 3, *SIZE_HW[family], generator=torch.Generator().manual_seed(seed))


def normalised(pictures: Tensor, backbone: Backbone) -> Tensor:
    """What the official models are fed."""
    return (pictures - torch.tensor(backbone.mean).view(3, 1, 1)) / torch.tensor(backbone.std).view(3, 1, 1)


def reference_blocks(
    meta: Mapping[str, Tensor],
    pixels: Tensor,
    patch: int,
    *,
    positions: bool = True,
    registers: bool = True,
    heads: int = HEADS,
) -> list[Tensor]:
    """Raw output of every block, from Meta's weights; parts can be left out to show that they matter."""
    batch, _, height, width = pixels.shape
    grid_hw = (height // patch, width // patch)
    tokens = functional.conv2d(pixels, meta["patch_embed.proj.weight"], meta["patch_embed.proj.bias"], stride=patch)
    tokens = tokens.flatten(2).transpose(1, 2)
    cls, register = meta["cls_token"], meta.get("storage_tokens", meta.get("register_tokens"))
    if "pos_embed" in meta:
        cls = cls + meta["pos_embed"][:, :1]
        if positions:
            tokens = tokens + reference_positions(meta["pos_embed"][:, 1:], grid_hw, antialias=register is not None)
    prefix = [cls] + ([register] if register is not None else [])
    x = torch.cat([*(token.expand(batch, -1, -1) for token in prefix), tokens], 1)
    if not registers:
        x[:, 1 : x.shape[1] - tokens.shape[1]] = 0
    v3 = "storage_tokens" in meta
    rotation = reference_rotation(grid_hw, WIDTH // heads) if v3 and positions else None
    outputs = []
    for number in range(DEPTH):
        x = _reference_block(meta, f"blocks.{number}.", x, rotation, heads, 1e-5 if v3 else 1e-6)
        outputs.append(x)
    return outputs


def _reference_block(
    meta: Mapping[str, Tensor], block: str, x: Tensor, rotation: Tensor | None, heads: int, eps: float
) -> Tensor:
    def linear(name: str, value: Tensor) -> Tensor:
        return functional.linear(value, meta[f"{block}{name}.weight"], meta[f"{block}{name}.bias"])

    def norm(name: str, value: Tensor) -> Tensor:
        return functional.layer_norm(value, (WIDTH,), meta[f"{block}{name}.weight"], meta[f"{block}{name}.bias"], eps)

    attended = []
    projections = linear("attn.qkv", norm("norm1", x)).chunk(3, -1)
    for query, key, value in zip(*(projection.chunk(heads, -1) for projection in projections), strict=True):
        turned = (query, key) if rotation is None else (rotate(query, rotation), rotate(key, rotation))
        scores = turned[0] @ turned[1].transpose(1, 2) / math.sqrt(WIDTH // heads)
        attended.append(scores.softmax(-1) @ value)
    x = x + meta[f"{block}ls1.gamma"] * linear("attn.proj", torch.cat(attended, -1))
    inner = norm("norm2", x)
    if f"{block}mlp.w12.weight" in meta:
        gate, up = linear("mlp.w12", inner).chunk(2, -1)
        inner = linear("mlp.w3", functional.silu(gate) * up)
    elif f"{block}mlp.w1.weight" in meta:
        inner = linear("mlp.w3", functional.silu(linear("mlp.w1", inner)) * linear("mlp.w2", inner))
    else:
        inner = linear("mlp.fc2", functional.gelu(linear("mlp.fc1", inner)))
    return x + meta[f"{block}ls2.gamma"] * inner


def reference_norm(meta: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """The final LayerNorm."""
    eps = 1e-5 if "storage_tokens" in meta else 1e-6
    return functional.layer_norm(x, (WIDTH,), meta["norm.weight"], meta["norm.bias"], eps)


def reference_rotation(grid_hw: tuple[int, int], head_width: int) -> Tensor:
    """exp(i angle) per patch and pair of channels: rows in the first half of the pairs, columns in the second."""
    frequencies = 100.0 ** -(np.arange(head_width // 4) / (head_width / 4))
    centres = [(np.arange(count) + 0.5) / count * 2 - 1 for count in grid_hw]
    rows, columns = np.meshgrid(*centres, indexing="ij")
    angles = 2 * np.pi * np.concatenate([np.outer(axis.ravel(), frequencies) for axis in (rows, columns)], axis=1)
    return torch.from_numpy(np.exp(1j * angles)).to(torch.complex64)


def rotate(tokens: Tensor, rotation: Tensor) -> Tensor:
    """Patch tokens turned by RoPE; prefix tokens stay."""
    prefix, patches = tokens[:, : -len(rotation)], tokens[:, -len(rotation) :]
    first, second = patches.chunk(2, -1)
    turned = torch.complex(first.contiguous(), second.contiguous()) * rotation
    return torch.cat([prefix, torch.cat([turned.real, turned.imag], -1)], 1)


def reference_positions(positions: Tensor, grid_hw: tuple[int, int], *, antialias: bool) -> Tensor:
    """Stored positions on a new grid: with registers by size; without by Meta's scale (new + 0.1) / old."""
    side = math.isqrt(positions.shape[1])
    grid = positions.reshape(side, side, -1)
    if grid_hw == (side, side):
        return positions
    if antialias:
        return functional.interpolate(
            grid.permute(2, 0, 1)[None], size=grid_hw, mode="bicubic", antialias=True
        ).flatten(2).transpose(1, 2)  # fmt: skip
    down, across = (torch.from_numpy(_cubic_matrix(side, new)).float() for new in grid_hw)
    return torch.einsum("ih,jw,hwc->ijc", down, across, grid).reshape(1, -1, grid.shape[-1])


def _cubic_matrix(old: int, new: int) -> np.ndarray[Any, Any]:
    """Cubic convolution (a = -0.75) at the points (i + .5) * old / (new + .1) - .5, borders repeated."""
    matrix = np.zeros((new, old))
    for row in range(new):
        point = (row + 0.5) * old / (new + 0.1) - 0.5
        for cell in range(math.floor(point) - 1, math.floor(point) + 3):
            distance, a = abs(point - cell), -0.75
            if distance <= 1:
                weight = (a + 2) * distance**3 - (a + 3) * distance**2 + 1
            else:
                weight = a * (distance**3 - 5 * distance**2 + 8 * distance - 4)
            matrix[row, min(max(cell, 0), old - 1)] += weight
    return matrix
