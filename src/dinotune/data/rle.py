"""Masks of objects between pixels and COCO's run lengths (RLE), by faster-coco-eval."""

import json
from typing import Any

import numpy as np
from faster_coco_eval.core import mask as coco_mask
from faster_coco_eval.mask_api_new_cpp import toUncompressedRLE
from jaxtyping import Bool

from dinotune.errors import DataError


def decode_mask(text: str, hw: tuple[int, int]) -> Bool[np.ndarray, "height width"]:
    """The pixels of an object in a picture of height and width `hw`.

    Raises:
        DataError: an RLE of another size, or one that is broken.
    """
    try:
        return np.asarray(coco_mask.decode(as_rle(text, hw)), np.bool_)
    except (ValueError, RuntimeError) as error:
        raise DataError(f"the mask of an object cannot be read: {error}") from None


def check_mask(text: str, hw: tuple[int, int]) -> None:
    """DataError where `decode_mask` has one, found by run lengths alone."""
    try:
        (lengths,) = toUncompressedRLE([as_rle(text, hw)])
    except (ValueError, RuntimeError) as error:
        raise DataError(f"the mask of an object cannot be read: {error}") from None
    if (pixels := sum(lengths["counts"])) != hw[0] * hw[1]:
        raise DataError(f"the mask of an object cannot be read: run lengths of {pixels} pixels, not {hw[0]} * {hw[1]}")


def as_rle(text: str, hw: tuple[int, int]) -> dict[str, Any]:
    """COCO's compressed run lengths of an object; DataError for those of another size than `hw`."""
    written = json.loads(text)
    rle: dict[str, Any]
    if isinstance(written, list):
        rle = coco_mask.merge(coco_mask.frPyObjects(written, *hw))
    elif written["size"] != list(hw):
        raise DataError(f"RLE of {written['size']} (height, width) in a picture of {list(hw)}")
    elif isinstance(written["counts"], list):
        rle = coco_mask.frPyObjects(written, *hw)
    else:
        rle = {"size": written["size"], "counts": written["counts"].encode()}
    return rle


def encode_mask(mask: Bool[np.ndarray, "height width"]) -> str:
    """An object's pixels as JSON text: compressed RLE."""
    rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return rle_text(rle["counts"], (mask.shape[0], mask.shape[1]))


def compress(counts: list[list[int]], hw: tuple[int, int]) -> list[str]:
    """Run lengths of objects, those of other pixels first, as JSON texts: compressed RLE."""
    if not counts:
        return []
    rles = coco_mask.frPyObjects([{"size": list(hw), "counts": lengths} for lengths in counts], *hw)
    return [rle_text(rle["counts"], hw) for rle in rles]


def rle_text(counts: bytes | str, hw: tuple[int, int]) -> str:
    """Compressed run lengths as JSON text."""
    plain = counts.decode() if isinstance(counts, bytes) else counts
    return json.dumps({"size": list(hw), "counts": plain})
