"""Masks of objects with eight pixels in a byte."""

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from torch import Tensor


def pack_masks(masks: Bool[Tensor, "objects height width"]) -> UInt8[Tensor, "objects bytes"]:
    """Masks as bytes, each from a byte of its own on."""
    return torch.from_numpy(np.packbits(masks.flatten(1).numpy(force=True), axis=1))


def unpack_masks(
    packed: UInt8[Tensor, "objects bytes"], image_hw: tuple[int, int]
) -> Bool[Tensor, "objects height width"]:
    """The masks of this height and width again."""
    height, width = image_hw
    pixels = np.unpackbits(packed.numpy(), axis=1, count=height * width)
    return torch.from_numpy(pixels).bool().view(-1, height, width)
