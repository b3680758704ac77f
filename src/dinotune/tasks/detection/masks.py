"""Masks of detected objects at the size of the picture."""

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.nn import functional

from dinotune.data.rle import encode_mask

AT_ONCE = 32
"""Masks that are enlarged together: hundreds at the size of a picture take gigabytes."""


def masks_and_boxes(
    probabilities: Float[Tensor, "objects rows columns"],
    boxes: Float64[np.ndarray, "objects 4"],
    picture_hw: tuple[int, int],
) -> tuple[np.ndarray, Float64[np.ndarray, "objects 4"]]:
    """Masks as RLE texts, and the xyxy box around each; the given box for a mask without pixels.

    A pixel belongs to an object where the bilinearly interpolated probability is above a half.
    """
    texts: list[str] = []
    tight = boxes.copy()
    for part in torch.split(probabilities, AT_ONCE):
        enlarged = functional.interpolate(part[:, None].float(), size=picture_hw, mode="bilinear", align_corners=False)
        for mask in (enlarged[:, 0] > 0.5).cpu().numpy():
            if mask.any():
                tight[len(texts)] = _box_around(mask)
            texts.append(encode_mask(mask))
    return np.array(texts, object), tight


def _box_around(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
