"""Which files to predict on."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from dinotune.errors import DataError

VIDEO_SUFFIXES = {".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv"}


def is_video(path: Path) -> bool:
    """Whether a file is taken for a video, by its name."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def picture_files(sources: Sequence[Path | str]) -> Iterator[Path]:
    """Files as they are, and every picture below the folders, sorted by path. Videos in folders are left alone."""
    for source in map(Path, sources):
        if source.is_dir():
            yield from sorted(path for path in source.rglob("*") if path.suffix.lower() in picture_suffixes())
        elif source.is_file():
            yield source
        else:
            raise DataError(f"{source}: no such file or folder")


def picture_suffixes() -> set[str]:
    """Endings of files that are taken for pictures in a folder."""
    readable = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    return readable & {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}
