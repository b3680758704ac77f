"""Drawn pictures of any task as files."""

from pathlib import Path

from PIL import Image


def save_drawing(image: Image.Image, path: Path) -> None:
    """Write a drawn picture as JPEG, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=92)
