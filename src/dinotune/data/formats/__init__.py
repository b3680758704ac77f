"""Readers and writers of annotation formats, all around Records, so that any becomes any other; loads no torch."""

from collections.abc import Callable, Container, Mapping
from pathlib import Path

from dinotune.config.tasks import LabelKind
from dinotune.data.formats.base import SplitPlace
from dinotune.data.formats.cifar.layout import LOOKED_FOR as CIFAR_FILES
from dinotune.data.formats.cifar.layout import find_cifar, how_to_extract, is_cifar_file
from dinotune.data.formats.cifar.read import read_cifar
from dinotune.data.formats.class_list.layout import LOOKED_FOR as CLASS_LISTS
from dinotune.data.formats.class_list.layout import find_class_list
from dinotune.data.formats.class_list.read import read_class_list
from dinotune.data.formats.class_list.table import is_class_list
from dinotune.data.formats.class_list.write import write_class_list
from dinotune.data.formats.coco.read import LOOKED_FOR as COCO_FILES
from dinotune.data.formats.coco.read import find_coco, read_coco
from dinotune.data.formats.coco.write import write_coco
from dinotune.data.formats.image_folder.layout import LOOKED_FOR as IMAGE_FOLDERS
from dinotune.data.formats.image_folder.layout import class_folders, find_image_folder
from dinotune.data.formats.image_folder.read import read_image_folder
from dinotune.data.formats.image_folder.write import write_image_folder
from dinotune.data.formats.instance_folder.layout import LOOKED_FOR as INSTANCE_FOLDERS
from dinotune.data.formats.instance_folder.layout import find_instance_folder, is_instance_folder
from dinotune.data.formats.instance_folder.read import read_instance_folder
from dinotune.data.formats.instance_folder.write import write_instance_folder
from dinotune.data.formats.mask_folder.layout import LOOKED_FOR as MASK_FOLDERS
from dinotune.data.formats.mask_folder.layout import find_mask_folder, holds_masks
from dinotune.data.formats.mask_folder.read import read_mask_folder
from dinotune.data.formats.mask_folder.write import write_mask_folder
from dinotune.data.formats.torchvision_json.read import LOOKED_FOR as TORCHVISION_JSON_FILES
from dinotune.data.formats.torchvision_json.read import find_torchvision_json, read_torchvision_json
from dinotune.data.formats.torchvision_json.write import write_torchvision_json
from dinotune.data.formats.voc.layout import LOOKED_FOR as VOC_FILES
from dinotune.data.formats.voc.layout import find_voc, is_guessed
from dinotune.data.formats.voc.read import read_voc
from dinotune.data.formats.voc.write import write_voc
from dinotune.data.formats.writing import Pictures, Splits
from dinotune.data.formats.yolo.layout import LOOKED_FOR as YOLO_FILES
from dinotune.data.formats.yolo.layout import find_yolo
from dinotune.data.formats.yolo.read import read_yolo
from dinotune.data.formats.yolo.write import write_yolo
from dinotune.data.problems import Findings
from dinotune.data.records import LabelSet, Records
from dinotune.errors import DataError

Finder = Callable[[Path], dict[str, SplitPlace]]
Reader = Callable[[SplitPlace, str, LabelSet | None, Findings], Records]
Writer = Callable[[Splits, Path, Pictures], tuple[str, ...]]

FINDERS: dict[str, Finder] = {
    "coco": find_coco,
    "voc": find_voc,
    "yolo": find_yolo,
    "torchvision_json": find_torchvision_json,
    "mask_folder": find_mask_folder,
    "instance_folder": find_instance_folder,
    "class_list": find_class_list,
    "image_folder": find_image_folder,
    "cifar": find_cifar,
}
"""Places of the splits (`train`, `val`, `test`) in a data set's folder, by format."""

READERS: dict[str, Reader] = {
    "coco": read_coco,
    "voc": read_voc,
    "yolo": read_yolo,
    "torchvision_json": read_torchvision_json,
    "mask_folder": read_mask_folder,
    "instance_folder": read_instance_folder,
    "class_list": read_class_list,
    "image_folder": read_image_folder,
    "cifar": read_cifar,
}

WRITERS: dict[str, Writer] = {
    "coco": write_coco,
    "voc": write_voc,
    "yolo": write_yolo,
    "torchvision_json": write_torchvision_json,
    "mask_folder": write_mask_folder,
    "instance_folder": write_instance_folder,
    "class_list": write_class_list,
    "image_folder": write_image_folder,
}
"""Write splits below a folder with their pictures (`copy`, `link`, `none`), and say what the format cannot hold; CIFAR holds its own pictures alone, so nothing is written so."""

HOLDS: dict[str, LabelKind] = {
    "coco": "boxes",
    "voc": "boxes",
    "yolo": "boxes",
    "torchvision_json": "boxes",
    "mask_folder": "semantic_masks",
    "instance_folder": "instance_masks",
    "class_list": "classes",
    "image_folder": "classes",
    "cifar": "classes",
}
"""What the labels of a format say something about; any two of a kind can be turned into each other."""

KNOWN_BY: Mapping[str, tuple[str, str]] = {
    "coco": ("COCO", COCO_FILES),
    "voc": ("Pascal VOC", VOC_FILES),
    "yolo": ("YOLO", YOLO_FILES),
    "torchvision_json": ("TorchVision JSON", TORCHVISION_JSON_FILES),
    "mask_folder": ("mask folder", MASK_FOLDERS),
    "instance_folder": ("instance folder", INSTANCE_FOLDERS),
    "class_list": ("class list", CLASS_LISTS),
    "image_folder": ("ImageFolder", IMAGE_FOLDERS),
    "cifar": ("CIFAR", CIFAR_FILES),
}
"""Each format's name in sentences, and the files by which it is found."""

SOUGHT: tuple[LabelKind, ...] = ("boxes", "semantic_masks", "instance_masks", "classes")
"""The order in which a folder is searched, where nothing says what is needed."""

OTHERWISE: Mapping[LabelKind, tuple[LabelKind, ...]] = {
    "boxes": ("instance_masks",),
    "semantic_masks": ("boxes", "instance_masks"),
    "instance_masks": ("boxes",),
}
"""Where else needed labels may be found: objects with boxes may have masks too, which can be painted as classes."""

ORIGINALS = ("coco", "voc")
"""Formats with ids or ignore regions. The others lack both, and often lie beside one of these as a copy."""


def detect_format(root: Path, needs: LabelKind | None = None) -> str:
    """The format of a data set's folder, by the files in it; of those with the labels that are needed, if there are any.

    Of several, COCO or Pascal VOC wins if it has all splits that the others have; XML files without lists of splits
    count only where there is nothing else, as do classes of pictures where there are boxes, and lists of them where
    there are folders. DataError where no format is found, and where none of several wins.
    """
    require_folder(root)
    order = (needs, *OTHERWISE.get(needs, ()), *SOUGHT) if needs else SOUGHT
    found = next((places for has in order if (places := _found(root, has))), {})
    if not found:
        raise DataError(nothing_found(root))
    if "image_folder" in found:
        return "image_folder"
    if len(found) > 1 and is_guessed(found.get("voc", {})):
        found.pop("voc", None)
    if len(found) == 1:
        return next(iter(found))
    originals = [kind for kind in found if kind in ORIGINALS]
    if len(originals) == 1 and all(places.keys() <= found[originals[0]].keys() for places in found.values()):
        return originals[0]
    raise DataError(f"{root}: holds {' and '.join(found)} annotations; choose with data.format={next(iter(found))}")


def _found(root: Path, has: LabelKind) -> dict[str, dict[str, SplitPlace]]:
    """Places of the splits by format, of the formats with such labels."""
    return {kind: places for kind, find in FINDERS.items() if HOLDS[kind] == has and (places := find(root))}


def require_folder(root: Path) -> None:
    """DataError where `data.root` is no folder."""
    if not root.is_dir():
        place = "" if root.is_absolute() else f" in {Path.cwd()}"
        hint = f"; use data.root={root.parent}" if root.is_file() else ""
        raise DataError(f"{root}: no such folder{place}; data.root must name the folder of a data set{hint}")


def passed_over(root: Path, chosen: str) -> tuple[str, ...]:
    """A sentence on the formats of a folder that `detect_format` passed over."""
    others = [kind for kind, find in FINDERS.items() if kind != chosen and HOLDS[kind] == HOLDS[chosen] and find(root)]
    if not others:
        return ()
    return (
        f"{root} holds {' and '.join(others)} annotations too; {chosen} is read (data.format={others[0]} changes it)",
    )


def format_of(annotations: Path) -> str:
    """The format of an annotation file or folder that someone names; DataError for a folder that holds none."""
    if annotations.is_dir():
        return _format_of_folder(annotations)
    if is_cifar_file(annotations):
        return "cifar"
    if annotations.suffix in (".yaml", ".yml"):
        return "yolo"
    if annotations.suffix in (".csv", ".txt") and is_class_list(annotations):
        return "class_list"
    return "torchvision_json" if annotations.is_file() and _first_letter(annotations) == "[" else "coco"


def _format_of_folder(folder: Path) -> str:
    if next(folder.glob("*.xml"), None):
        return "voc"
    if holds_masks(folder):
        return "instance_folder" if is_instance_folder(folder) else "mask_folder"
    if next(folder.rglob("*.txt"), None):
        return "yolo"
    if class_folders(folder):
        return "image_folder"
    raise DataError(
        f"{folder}: holds neither XML files (Pascal VOC) nor label files *.txt (YOLO) nor masks *.png nor a folder per "
        "class"
    )


def _first_letter(file: Path) -> str:
    with file.open("rb") as content:
        return content.read(100).decode("utf-8-sig", errors="replace").lstrip()[:1]


def find_splits(root: Path, kind: str, named: Container[str] = ()) -> dict[str, SplitPlace]:
    """Places of the splits (`train`, `val`, `test`) that the folder holds in the given format.

    DataError where several files or folders could be one split, unless it is `named` by the settings.
    """
    found = FINDERS[kind](root)
    if unclear := [place.unclear for split, place in found.items() if place.unclear and split not in named]:
        raise DataError(unclear[0])
    return found


def nothing_found(root: Path, only: str | None = None) -> str:
    """What was looked for in a folder without annotations, of all formats or one."""
    described = [f"{name} ({files})" for kind, (name, files) in KNOWN_BY.items() if only in (None, kind)]
    entries = sorted(path.name for path in root.iterdir())
    return (
        f"{root}: no annotations found. Looked for {'; '.join(described)}; "
        f"SPLIT being train, val or test; the folder holds {', '.join(entries[:10]) or 'nothing'}; "
        "or name the file with data.train.annotations=FILE" + (how_to_extract(root) if only in (None, "cifar") else "")
    )
