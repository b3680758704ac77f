"""From scores on a grid to a class for each pixel of a picture, and to PNG files."""

import io

import numpy as np
from jaxtyping import Float, Int16
from PIL import Image
from torch import Tensor
from torch.nn import functional

from dinotune.data.records import LabelSet
from dinotune.tasks.colours import class_colour

MOST_IN_PALETTE, MOST_IN_PNG = 256, 65536


def written_ids(labels: LabelSet) -> tuple[int, ...]:
    """What stands for each class in a mask file: the data set's own ids, or indices where a file cannot hold those."""
    return labels.ids if min(labels.ids) >= 0 and max(labels.ids) < MOST_IN_PNG else tuple(range(len(labels)))


def best_classes(
    scores: Float[Tensor, "classes rows columns"], picture_hw: tuple[int, int]
) -> Int16[np.ndarray, "height width"]:
    """0-based class of each pixel of a picture: the highest score after bilinear interpolation."""
    enlarged = functional.interpolate(scores[None].float(), size=picture_hw, mode="bilinear", align_corners=False)
    best: Int16[np.ndarray, "height width"] = enlarged[0].argmax(0).short().cpu().numpy()
    return best


def to_png(classes: Int16[np.ndarray, "height width"], labels: LabelSet) -> bytes:
    """A mask whose pixels hold `written_ids`; with colours where they fit a palette of 256."""
    ids = written_ids(labels)
    pixels = np.array(ids)[classes]
    if max(ids) < MOST_IN_PALETTE:
        image = Image.fromarray(pixels.astype(np.uint8)).convert("P")
        palette = np.zeros((MOST_IN_PALETTE, 3), np.uint8)
        palette[list(ids)] = [class_colour(label) for label in range(len(labels))]
        image.putpalette(palette.tobytes())
    else:
        image = Image.fromarray(pixels.astype(np.uint16))
    content = io.BytesIO()
    image.save(content, "PNG", compress_level=1)
    return content.getvalue()


def from_png(content: bytes, labels: LabelSet) -> Int16[np.ndarray, "height width"]:
    """The classes that `to_png` was given."""
    with Image.open(io.BytesIO(content)) as image:
        pixels = np.asarray(image).astype(np.int64)
    ids = written_ids(labels)
    class_of = np.zeros(max(ids) + 1, np.int16)
    class_of[list(ids)] = np.arange(len(labels))
    return class_of[pixels]
