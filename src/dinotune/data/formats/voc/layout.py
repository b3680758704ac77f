"""Where a Pascal VOC data set keeps its splits: as its lists say, or as labelling tools and Roboflow leave it."""

from itertools import islice
from pathlib import Path

from dinotune.data.formats.base import SPLIT_ALIASES, SplitPlace

LOOKED_FOR = "Annotations/*.xml with ImageSets/Main/SPLIT.txt, SPLIT/*.xml or *.xml beside the pictures"

LABELS, PICTURES = ("Annotations", "annotations", "labels"), ("JPEGImages", "images")
"""Names of folders that XML files and pictures lie in."""

FIRST_FILES = 20
"""So many XML files are looked into, to tell annotations from others."""


def find_voc(root: Path) -> dict[str, SplitPlace]:
    """Splits of a Pascal VOC folder by name (`train`, `val`, `test`); empty where nothing is found.

    Labelling tools write no lists of splits: XML files in `SPLIT`, `SPLIT/Annotations` or `Annotations/SPLIT` are one;
    those in `Annotations` or the folder itself are all `train`. `annotations` and `labels` stand for `Annotations`.
    """
    annotations, pictures = root / "Annotations", (root / "JPEGImages",)
    found = {}
    for split, aliases in SPLIT_ALIASES.items():
        listings = [root / "ImageSets" / "Main" / f"{alias}.txt" for alias in aliases]
        if annotations.is_dir() and (present := [path for path in listings if path.is_file()]):
            found[split] = SplitPlace(annotations, pictures, present[0])
    return found or _by_folder(root) or _without_splits(root)


def is_guessed(places: dict[str, SplitPlace]) -> bool:
    """Whether no list says what the XML files are: they may be leftovers beside a data set of another format."""
    return all(place.listing is None for place in places.values())


def xml_files(folder: Path) -> list[Path]:
    """XML files of a folder, sorted; hidden ones (`._1.xml` of macOS) are none."""
    return sorted(path for path in folder.glob("*.xml") if not path.name.startswith("."))


def voc_image_folders(annotations: Path, root: Path) -> tuple[Path, ...]:
    """Where the pictures of a folder of XML files may lie, best guess first."""
    nested = [root / name / annotations.name for name in PICTURES if annotations.parent.name in LABELS]
    return (*nested, *(root / name for name in PICTURES), annotations, root)


def _by_folder(root: Path) -> dict[str, SplitPlace]:
    """Splits that have folders of their own; their classes are those of all."""
    found = {}
    for split, aliases in SPLIT_ALIASES.items():
        apart = [(root / alias / name, root / alias) for alias in aliases for name in ("", *LABELS)]
        nested = [(root / name / alias, root) for alias in aliases for name in LABELS]
        holding = ((folder, above) for folder, above in [*apart, *nested] if _holds_annotations(folder))
        if place := next(holding, None):
            found[split] = SplitPlace(place[0], voc_image_folders(*place), classes=root)
    return found


def _without_splits(root: Path) -> dict[str, SplitPlace]:
    """One folder of XML files; their pictures lie beside it or in it."""
    folders = (*(root / name for name in LABELS), root)
    folder = next(filter(_holds_annotations, folders), None)
    return {} if folder is None else {"train": SplitPlace(folder, voc_image_folders(folder, root))}


def _holds_annotations(folder: Path) -> bool:
    """Whether there is an XML file that says `<annotation>`, as Pascal VOC's do."""
    return any(_begins_as_annotation(file) for file in islice(folder.glob("*.xml"), FIRST_FILES))


def _begins_as_annotation(file: Path) -> bool:
    if not file.is_file():
        return False
    with file.open("rb") as content:
        return b"<annotation" in content.read(1000)
