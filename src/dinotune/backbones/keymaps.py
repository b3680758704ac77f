"""One naming for all layouts: transformers' (old and new) and Meta's parameter names become timm's.

The layouts share no name with different meanings, so one list of rules per architecture serves all.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

_PERMITTED = re.compile(
    r"""(.*\.)?(
        mask_token                                # masked pretraining
        | rope(_embed|_embeddings)?\.\w+          # RoPE has no learned part
        | attn\.qkv\.bias_mask                    # Meta's zero mask of the key biases
        | local_cls_norm\.(weight|bias)           # norm of the local crops (7B)
        | norms\.\d+\.(weight|bias)               # Meta's ConvNeXt lists its final norm twice
        | (classifier|head|head\.fc|linear_head)\.(weight|bias)
    )""",
    re.VERBOSE,
)
"""Names that a file may hold and a backbone has no use for."""

_PREFIX = re.compile(r"(dinov2|dinov2_with_registers|backbone|model)\.(?=embeddings|encoder|layer|norm|stages)")

_LAYER = r"(?:encoder\.)?layer\.(\d+)\."
_VIT_RULES = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"embeddings\.(cls_token)", r"\1"),
        (r"embeddings\.register_tokens|register_tokens|storage_tokens", "reg_token"),
        (r"embeddings\.position_embeddings", "pos_embed"),
        (r"embeddings\.patch_embeddings\.(?:projection\.)?(weight|bias)", r"patch_embed.proj.\1"),
        (_LAYER + r"(norm[12]\.\w+)", r"blocks.\1.\2"),
        (_LAYER + r"attention\.(?:attention\.query|q_proj)\.(\w+)", r"blocks.\1.attn.q.\2"),
        (_LAYER + r"attention\.(?:attention\.key|k_proj)\.(\w+)", r"blocks.\1.attn.k.\2"),
        (_LAYER + r"attention\.(?:attention\.value|v_proj)\.(\w+)", r"blocks.\1.attn.v.\2"),
        (_LAYER + r"attention\.(?:output\.dense|o_proj)\.(\w+)", r"blocks.\1.attn.proj.\2"),
        (_LAYER + r"layer_scale([12])\.lambda1", r"blocks.\1.ls\2.gamma"),
        (_LAYER + r"mlp\.weights_in\.(\w+)", r"blocks.\1.mlp.w12.\2"),
        (_LAYER + r"mlp\.(?:fc1|up_proj)\.(\w+)", r"blocks.\1.mlp.up.\2"),
        (_LAYER + r"mlp\.gate_proj\.(\w+)", r"blocks.\1.mlp.gate.\2"),
        (_LAYER + r"mlp\.(?:fc2|down_proj|weights_out)\.(\w+)", r"blocks.\1.mlp.fc2.\2"),
        (r"(blocks\.\d+\.mlp\.)w1\.(\w+)", r"\1gate.\2"),
        (r"(blocks\.\d+\.mlp\.)w2\.(\w+)", r"\1up.\2"),
        (r"(blocks\.\d+\.mlp\.)w3\.(\w+)", r"\1fc2.\2"),
        (r"layernorm\.(\w+)", r"norm.\1"),
    )
)
_CONVNEXT_RULES = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"(?:stages\.0\.)?downsample_layers\.0\.([01]\.\w+)", r"stem.\1"),
        (r"stages\.0\.downsample_layers\.([01]\.\w+)", r"stem.\1"),
        (r"stages\.(\d+)\.downsample_layers\.([01]\.\w+)", r"stages.\1.downsample.\2"),
        (r"downsample_layers\.(\d+)\.([01]\.\w+)", r"stages.\1.downsample.\2"),
        (r"stages\.(\d+)\.(?:layers\.)?(\d+)\.(?:dwconv|depthwise_conv)\.(\w+)", r"stages.\1.blocks.\2.conv_dw.\3"),
        (r"stages\.(\d+)\.(?:layers\.)?(\d+)\.(?:norm|layer_norm)\.(\w+)", r"stages.\1.blocks.\2.norm.\3"),
        (r"stages\.(\d+)\.(?:layers\.)?(\d+)\.(?:pwconv|pointwise_conv)([12]\.\w+)", r"stages.\1.blocks.\2.mlp.fc\3"),
        (r"stages\.(\d+)\.(?:layers\.)?(\d+)\.gamma", r"stages.\1.blocks.\2.gamma"),
        (r"(?:norm|layer_norm)\.(\w+)", r"head.norm.\1"),
    )
)


@dataclass
class NamedWeights:
    """Weights under timm's names, and what each was called in the file."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    origin: dict[str, str] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    """Permitted names without use here (mask token, classifier)."""
    rotary: bool = False
    """Whether positions are rotary, so none are stored."""

    @property
    def is_convnext(self) -> bool:
        """Whether the names are those of a ConvNeXt."""
        return any(name.startswith("stages.") for name in self.tensors)

    def move(self, old: str, new: str, tensor: Tensor | None = None) -> None:
        """Put `old` (or `tensor`, made from it) under a new name."""
        self.tensors[new] = self.tensors.pop(old) if tensor is None else tensor
        self.origin[new] = self.origin[old]


def to_timm_names(state: Mapping[str, Tensor], rotary: bool | None = None) -> NamedWeights:
    """Rename, fuse and split what a file holds until it fits timm's modules.

    Names that no rule knows stay as they are, so that loading reports them. Tensors become fp32.
    Where no config says whether positions are `rotary`, the absence of learned ones does.
    """
    named = NamedWeights(dropped=tuple(sorted(name for name in state if _PERMITTED.fullmatch(name))))
    rules = _CONVNEXT_RULES if any(re.search(r"(^|\.)stages\.0\.", name) for name in state) else _VIT_RULES
    for name, tensor in state.items():
        if name in named.dropped:
            continue
        new = _rename(_PREFIX.sub("", name, count=1) if _PREFIX.match(name) else name, rules)
        named.tensors[new], named.origin[new] = tensor.float(), name
    if not named.is_convnext:
        named.rotary = "pos_embed" not in named.tensors if rotary is None else rotary
        _fold_cls_position(named)
        for block in sorted({name.split(".attn.")[0] for name in named.tensors if ".attn." in name}):
            _fuse_attention(named, block)
            _fit_mlp(named, block)
            if named.rotary:
                _fit_rotary_block(named, block)
    return named


def _rename(name: str, rules: tuple[tuple[re.Pattern[str], str], ...]) -> str:
    for pattern, new in rules:
        match = pattern.fullmatch(name)
        if match:
            return match.expand(new)
    return name


def _fold_cls_position(named: NamedWeights) -> None:
    positions = named.tensors.get("pos_embed")
    if positions is None or not {"reg_token", "cls_token"} <= named.tensors.keys():
        return
    count = positions.shape[1]
    if math.isqrt(count) ** 2 != count:  # a square count is a grid whose CLS position is folded already
        named.tensors["cls_token"] = named.tensors["cls_token"] + positions[:, :1]
        named.tensors["pos_embed"] = positions[:, 1:].clone()


def _fuse_attention(named: NamedWeights, block: str) -> None:
    """Three projections become one; DINOv3 keeps query and value biases apart (its keys have none)."""
    tensors, attention = named.tensors, f"{block}.attn"
    for part in ("weight", "bias"):
        parts = [f"{attention}.{letter}.{part}" for letter in "qkv"]
        if all(name in tensors for name in parts):
            named.move(parts[0], f"{attention}.qkv.{part}", torch.cat([tensors.pop(name) for name in parts]))
    if named.rotary:
        for letter in "qv":
            if f"{attention}.{letter}.bias" in tensors:
                named.move(f"{attention}.{letter}.bias", f"{attention}.{letter}_bias")


def _fit_mlp(named: NamedWeights, block: str) -> None:
    """Gate and value of a gated MLP: packed in DINOv2, apart in DINOv3."""
    tensors, mlp = named.tensors, f"{block}.mlp"
    for part in ("weight", "bias"):
        gate, up, packed = (f"{mlp}.{name}.{part}" for name in ("gate", "up", "w12"))
        if packed in tensors:
            named.move(packed, f"{mlp}.fc1.{part}")
        elif up in tensors and gate not in tensors:
            named.move(up, f"{mlp}.fc1.{part}")
        elif up in tensors and named.rotary:
            named.move(gate, f"{mlp}.fc1_g.{part}")
            named.move(up, f"{mlp}.fc1_x.{part}")
        elif up in tensors:
            named.move(gate, f"{mlp}.fc1.{part}", torch.cat([tensors.pop(gate), tensors.pop(up)]))


def _fit_rotary_block(named: NamedWeights, block: str) -> None:
    for number in "12":
        if f"{block}.ls{number}.gamma" in named.tensors:
            named.move(f"{block}.ls{number}.gamma", f"{block}.gamma_{number}")
    bias = f"{block}.attn.qkv.bias"
    if bias in named.tensors:  # Meta's file: the key part is masked to zero in use
        query, _, value = named.tensors[bias].chunk(3)
        named.move(bias, f"{block}.attn.q_bias", query.clone())
        named.move(bias, f"{block}.attn.v_bias", value.clone())
        del named.tensors[bias]
