"""Where a Pascal VOC data set keeps its splits: as its lists say, or as labelling tools and Roboflow leave it."""

from itertools import islice
from pathlib import Path

from dinotune.data.formats.base import SPLIT_ALIASES, SplitPlace

LOOKED_FOR = "Annotations/*.xml with ImageSets/Main/SPLIT.txt, SPLIT/*.xml or *.xml beside the pictures"

FIRST_FILES = 20
"""So many XML files are looked into, to tell annotations from others."""


def find_voc(root: Path) -> dict[str, SplitPlace]:
    """Splits of a Pascal VOC folder by name (`train`, `val`, `test`); empty where nothing is found.

    Labelling tools write no lists of splits: XML files in `SPLIT/` are one, beside their pictures; those in
    `Annotations`, `annotations`, `labels` or the folder itself are all `train`.
    """
    annotations, pictures = root / "Annotations", (root / "JPEGImages",)
    found = {}
    for split, aliases in SPLIT_ALIASES.items():
        listings = [root / "ImageSets" / "Main" / f"{alias}.txt" for alias in aliases]
        if annotations.is_dir() and (existing := [path for path in listings if path.is_file()]):
            found[split] = SplitPlace(annotations, pictures, existing[0])
    return found or _beside_pictures(root) or _without_splits(root)


def _beside_pictures(root: Path) -> dict[str, SplitPlace]:
    """`SPLIT/*.xml`, as Roboflow writes them."""
    folders = {split: [root / alias for alias in aliases] for split, aliases in SPLIT_ALIASES.items()}
    holding = {split: next(filter(_holds_annotations, paths), None) for split, paths in folders.items()}
    return {split: SplitPlace(folder, (folder,)) for split, folder in holding.items() if folder is not None}


def _without_splits(root: Path) -> dict[str, SplitPlace]:
    """One folder of XML files; their pictures lie beside it or in it."""
    folders = (root / "Annotations", root / "annotations", root / "labels", root)
    folder = next(filter(_holds_annotations, folders), None)
    if folder is None:
        return {}
    return {"train": SplitPlace(folder, voc_image_folders(folder, root))}


def voc_image_folders(annotations: Path, root: Path) -> tuple[Path, ...]:
    """Where the pictures of a folder of XML files may lie, best guess first."""
    return root / "JPEGImages", root / "images", annotations, root


def _holds_annotations(folder: Path) -> bool:
    """Whether there is an XML file that says `<annotation>`, as Pascal VOC's do."""
    files = folder.glob("*.xml") if folder.is_dir() else ()
    return any(_begins_as_annotation(file) for file in islice(files, FIRST_FILES))


def _begins_as_annotation(file: Path) -> bool:
    with file.open("rb") as content:
        return b"<annotation" in content.read(1000)
