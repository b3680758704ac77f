"""Where the splits of an ImageFolder data set lie, and what tells class folders from others."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from dinotune.data.formats.base import SPLIT_ALIASES, SplitPlace, is_picture_name
from dinotune.data.formats.class_list.layout import class_list_of

LOOKED_FOR = "SPLIT/CLASS/*.jpg or CLASS/*.jpg, of two classes or more"

NO_CLASSES = {
    "images", "labels", "annotations", "masks", "jpegimages", "imagesets", "segmentationclass", "segmentationobject",
    "runs", *(alias for aliases in SPLIT_ALIASES.values() for alias in aliases),
}  # fmt: skip
"""Names of folders that other formats use, in small letters."""

FIRST_FILES = 50
"""So many files of a folder are looked at, to see whether it holds pictures."""


def find_image_folder(root: Path) -> dict[str, SplitPlace]:
    """Splits by name (`train`, `val`, `test`); empty where nothing is found. Class folders in the root are `train`.

    Beside a training split with class folders, other splits may be lists, as ImageNet's validation pictures are.
    """
    found: dict[str, SplitPlace] = {}
    for split, aliases in SPLIT_ALIASES.items():
        # One class is enough where others are known, e.g. in a test split.
        holding = (root / alias for alias in aliases if len(_pictured(root / alias)) >= (1 if found else 2))
        if folder := next(holding, None):
            found[split] = SplitPlace(folder, (folder,))
        elif "train" in found and (listed := class_list_of(root, split)):
            found[split] = listed
    if found or len(_pictured(root)) < 2 or any(_pictures(root)):
        return found
    return {"train": SplitPlace(root, (root,))}


def class_folders(folder: Path) -> list[Path]:
    """Folders that may each be a class, sorted by name: all of a split's, but for hidden ones."""
    inner = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith((".", "__")))
    is_split = any(folder.name in aliases for aliases in SPLIT_ALIASES.values())
    return inner if is_split else [path for path in inner if path.name.lower() not in NO_CLASSES]


def stray_pictures(folder: Path) -> list[Path]:
    """Pictures that lie beside the class folders."""
    return sorted(path for path in folder.iterdir() if is_picture_name(path) and path.is_file())


def _pictured(folder: Path) -> list[Path]:
    """Class folders with pictures of their own; none where all have names that other formats use."""
    if not folder.is_dir():
        return []
    found = [inner for inner in class_folders(folder) if any(_pictures(inner))]
    return found if any(inner.name.lower() not in NO_CLASSES for inner in found) else []


def _pictures(folder: Path) -> Iterator[Path]:
    return (path for path in islice(folder.iterdir(), FIRST_FILES) if is_picture_name(path) and path.is_file())
