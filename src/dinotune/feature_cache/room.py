"""Room on the disk: what a cache takes, what there is, and how both are said."""

import shutil
from pathlib import Path

from dinotune import config
from dinotune.errors import DinotuneError, SettingsError

RESERVE = 0.02
"""Part of the free space that is left alone."""

USUAL_FOLDER = Path("~/.cache/dinotune/features")


def cache_root(settings: config.FeatureCache) -> Path:
    """Folder of all caches."""
    return (settings.folder or USUAL_FOLDER.expanduser()).absolute()


def free_bytes(folder: Path) -> int:
    """Free space on the disk of a folder that need not exist yet."""
    existing = next(place for place in (folder, *folder.parents) if place.is_dir())
    return shutil.disk_usage(existing).free


def check_room(size: float, kept: int, folder: Path, settings: config.FeatureCache, name: str) -> None:
    """Refuse what has no room, or more than is allowed.

    Args:
        size: Bytes to write.
        kept: Bytes that lie there already.
        folder: Where.
        settings: Hold the limit.
        name: Of the split.

    Raises:
        SettingsError: more than `feature_cache.max_gb` in all.
        DinotuneError: more than is free.
    """
    smaller = "lower data.augmentation.views or data.size, or use feature_cache.storage=int8"
    if size + kept > settings.max_gb * 1e9:
        raise SettingsError(
            f"feature_cache.max_gb: the features of {name} take {gigabytes(size + kept)}, more than "
            f"{settings.max_gb:g} GB; {smaller}, or raise it"
        )
    free = free_bytes(folder)
    if size > free * (1 - RESERVE):
        raise DinotuneError(
            f"{folder}: {gigabytes(free)} free, and the features of {name} take {gigabytes(size)}; "
            f"name another disk with feature_cache.folder, {smaller}"
        )


def gigabytes(size: float) -> str:
    """Bytes in words."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def duration(seconds: float) -> str:
    """Seconds in words."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
