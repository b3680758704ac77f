"""Reading pictures of every kind into 8-bit RGB, with the rules that decide what a pixel means.

Plain `convert("RGB")` turns 16-bit grey white and shows the hidden colours below transparent pixels.
"""

import functools
import logging
import struct
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from dinotune.errors import DataError

logger = logging.getLogger(__name__)

DECODING_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    EOFError,
    KeyError,
    IndexError,
    struct.error,
    MemoryError,
)
"""What Pillow's decoders raise on broken files."""

GREY_CEILINGS = (255, 4095, 65535)
"""Largest values of 8, 12 and 16 bits."""

UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes each EXIF orientation."""

BACKGROUND = (255, 255, 255)
"""Colour below transparent pixels."""

HEAD = 512
"""Bytes that are enough to tell a web page from a picture."""

DRAFT_FACTORS = (8, 4, 2)
"""By how much libjpeg can shrink while decoding."""


def read_image(
    path: Path, annotated_hw: tuple[int, int] | None = None, at_least_hw: tuple[int, int] | None = None
) -> Image.Image:
    """A picture as 8-bit RGB, first frame.

    * EXIF rotation is applied if the result has the annotated size (or none is given); else it is left out, with a
      warning.
    * Grey of more than 8 bits (`I;16`, `I`, `F`) is scaled by the smallest of 255, 4095 and 65535 that holds the
      picture's largest value; floats within [0, 1] by 1; anything beyond or negative from its own least to largest.
    * Transparency is laid on white. CMYK in a JPEG is taken as inverted, as Adobe and nearly all others write it.
    * With `at_least_hw`, a JPEG may come 2, 4 or 8 times smaller, never smaller than that, and only by a factor
      that divides both sides, so that boxes scale exactly.

    DataError for unreadable files, sizes other than annotated, and decompression bombs.
    """
    try:
        with warnings.catch_warnings():
            # Pillow refuses twice as many pixels with an error; large survey pictures lie in between.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                turned = _turn(image, path, annotated_hw)
                if at_least_hw is not None:
                    _draft(image, at_least_hw[::-1] if turned > 4 else at_least_hw)
                image.load()
                rgb = to_rgb(image)
    except Image.DecompressionBombError as error:
        raise DataError(f"{path}: too large to decode safely: {error}") from None
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except UnidentifiedImageError:
        raise DataError(f"{path}: not a readable picture: {content(path)}") from None
    except DECODING_ERRORS as error:
        raise DataError(f"{path}: broken picture: {error}") from None
    return rgb if turned == 1 else rgb.transpose(UPRIGHT[turned])


class Header(NamedTuple):
    """Size and EXIF orientation of a picture file."""

    stored_hw: tuple[int, int]
    orientation: int
    """1..8, as `orientation` has it."""

    @property
    def upright_hw(self) -> tuple[int, int]:
        """Height and width after the turn."""
        return self.stored_hw[::-1] if self.orientation > 4 else self.stored_hw


def image_size_hw(path: Path) -> tuple[int, int]:
    """Height and width of what `read_image` gives, from the header alone; DataError for unreadable files."""
    return read_header(path).upright_hw


def read_header(path: Path) -> Header:
    """What a file says of itself before its pixels; DataError for unreadable files."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                return Header((image.height, image.width), orientation(image))
    except UnidentifiedImageError:
        raise DataError(f"{path}: not a readable picture: {content(path)}") from None
    except (*DECODING_ERRORS, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: not a readable picture: {error}") from None


def content(path: Path) -> str:
    """What a file holds instead of a picture, by its first bytes."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    if not head:
        return "0 bytes; copy or download it again"
    if head.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "holds a web page (HTML); download the picture itself"
    return f"begins with {head[:16]!r}, which is no picture format that can be read"


def orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8 (above 4: height and width swap); 1 where absent or broken, and of TIFF, which Pillow turns."""
    if image.format == "TIFF":
        return 1
    try:
        # Pillow's own method for PNG decodes the picture to find EXIF behind the pixels; here the header decides.
        value = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
    except DECODING_ERRORS:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _turn(image: Image.Image, path: Path, annotated_hw: tuple[int, int] | None) -> int:
    """The EXIF orientation to apply; 1 for none."""
    exif = orientation(image)
    stored = (image.height, image.width)
    turned = stored[::-1] if exif > 4 else stored
    if annotated_hw is None or turned == annotated_hw:
        return exif
    if stored == annotated_hw:
        _warn_once(f"{path}: EXIF orientation {exif} left out, since the annotated size fits without it")
        return 1
    raise DataError(
        f"{path}: {_size(stored)} pixels, but annotated as {_size(annotated_hw)} (height x width); "
        "resize the picture or scale its boxes and size in the annotations"
    )


def _size(hw: tuple[int, int]) -> str:
    return f"{hw[0]} x {hw[1]}"


@functools.lru_cache(maxsize=4096)
def _warn_once(message: str) -> None:
    logger.warning(message)


def _draft(image: Image.Image, at_least_hw: tuple[int, int]) -> None:
    height, width = image.height, image.width
    for factor in DRAFT_FACTORS:
        divides = height % factor == 0 and width % factor == 0
        if divides and height // factor >= at_least_hw[0] and width // factor >= at_least_hw[1]:
            image.draft(None, (width // factor, height // factor))
            return


def to_rgb(image: Image.Image) -> Image.Image:
    """Any mode as 8-bit RGB, by the rules of `read_image` for grey and transparency; orientation is left alone."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode == "F" or image.mode.startswith("I"):
        return Image.fromarray(_grey_to_uint8(np.asarray(image))).convert("RGB")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        alpha = image.convert("RGBA")
        canvas = Image.new("RGBA", alpha.size, (*BACKGROUND, 255))
        return Image.alpha_composite(canvas, alpha).convert("RGB")
    return image.convert("RGB")


def _grey_to_uint8(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """8-bit grey by the rule of `read_image`."""
    wide = values.astype(np.float64)
    if not np.isfinite(wide).all():
        raise ValueError("pixels that are not finite")
    low, high = float(wide.min()), float(wide.max())
    ceilings = (1, *GREY_CEILINGS) if np.issubdtype(values.dtype, np.floating) else GREY_CEILINGS
    if low < 0 or high > ceilings[-1]:
        span = max(high - low, np.finfo(np.float64).tiny)
        return np.rint((wide - low) / span * 255).astype(np.uint8)
    ceiling = next(ceiling for ceiling in ceilings if high <= ceiling)
    return np.rint(wide * (255 / ceiling)).astype(np.uint8)
