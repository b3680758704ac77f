"""What drawn pictures of all tasks share: their size, two of them side by side, and their files."""

from pathlib import Path

from PIL import Image

SMALLEST_SIDE = 480
"""Smaller pictures are enlarged by a whole factor before drawing, or what is written would hide them."""
GAP = 8
"""White pixels between the two pictures of a comparison."""


def enlargement(image: Image.Image) -> int:
    """The factor by which a picture grows before drawing."""
    return max(1, round(SMALLEST_SIDE / max(image.size)))


def side_by_side(left: Image.Image, right: Image.Image) -> Image.Image:
    """Two pictures as one."""
    both = Image.new("RGB", (left.width + GAP + right.width, max(left.height, right.height)), "white")
    both.paste(left, (0, 0))
    both.paste(right, (left.width + GAP, 0))
    return both


def save_drawing(image: Image.Image, path: Path) -> None:
    """Write a drawn picture as JPEG, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=92)
