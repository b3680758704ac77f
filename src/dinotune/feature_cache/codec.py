"""How the tensors of a cut are kept: in bfloat16, in single precision, or as 8-bit integers with a scale per channel."""

from collections.abc import Mapping

import torch
from torch import Tensor

from dinotune import config

SCALE, PREFIX = ".scale", ".prefix"
"""Ends of the names of what belongs to 8-bit integers: a scale per picture and channel, and the prefix tokens."""

LARGEST = 127


def pack(tensors: Mapping[str, Tensor], storage: config.Storage, prefix_tokens: int) -> dict[str, Tensor]:
    """Tensors of a batch as they are kept, by name; more than one for an input that becomes integers.

    Guidance is a small map in [0, 1] and stays in single precision; CLS and registers have values far from those of
    patches, so with integers they are kept apart, in bfloat16.
    """
    packed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name == "guidance" or storage == "fp32":
            packed[name] = tensor.float()
        elif storage == "bf16":
            packed[name] = tensor.bfloat16()
        else:
            packed |= _as_integers(name, tensor.float(), prefix_tokens)
    return packed


def _as_integers(name: str, tensor: Tensor, prefix_tokens: int) -> dict[str, Tensor]:
    """Sequences [batch, tokens, width] by their last dimension, maps [batch, channels, h, w] by their second."""
    is_map = tensor.ndim == 4
    cells = tensor if is_map else tensor[:, prefix_tokens:]
    scale = cells.abs().amax((2, 3) if is_map else 1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny) / LARGEST
    packed = {name: (cells / scale).round().to(torch.int8), name + SCALE: scale}
    return packed if is_map else packed | {name + PREFIX: tensor[:, :prefix_tokens].bfloat16()}


def unpack(packed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors again, of one picture or of many: as they were kept, integers in single precision."""
    found = {}
    for name in [name for name in packed if not name.endswith((SCALE, PREFIX))]:
        tensor = packed[name]
        if name + SCALE in packed:
            tensor = tensor.float() * packed[name + SCALE]
        if name + PREFIX in packed:
            tensor = torch.cat([packed[name + PREFIX].float(), tensor], dim=-2)
        found[name] = tensor
    return found
