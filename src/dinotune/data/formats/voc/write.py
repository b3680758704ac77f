"""Pascal VOC writer: `Annotations/*.xml`, `JPEGImages`, `ImageSets/Main/SPLIT.txt` (Everingham et al. 2010).

Pixels are 1-based and inclusive there: the box from (0, 0) to (10, 5) is written as 1, 1, 10, 5.
"""

from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from dinotune.data.formats.writing import (
    Pictures,
    Splits,
    areas_note,
    common_labels,
    find_clash,
    images_of,
    masks_note,
    place_pictures,
    relative_names,
)
from dinotune.data.records import ImageRecord, LabelSet
from dinotune.errors import DataError
from dinotune.files import write_text

NARROWEST = 1.001
"""Sides in pixels from which on the corners differ as written."""


def write_voc(splits: Splits, out: Path, pictures: Pictures = "copy") -> tuple[str, ...]:
    """Write all splits below `out`; all pictures lie in one folder, with the split before names that clash.

    Boxes keep four decimals. Returns sentences on what the format cannot hold: areas, masks, classes without boxes, and
    boxes at most one pixel wide or high, whose corners would coincide as those of slips do. DataError for different
    classes and for names that clash all the same.
    """
    labels = common_labels(splits)
    thin, areas, used = 0, 0, np.zeros(len(labels), np.bool_)
    names = _flat_names(splits)
    for split, records in splits.items():
        place_pictures(records, [out / "JPEGImages" / name for name in names[split]], pictures)
        sides = records.boxes[:, 2:] - records.boxes[:, :2]
        wide = (sides >= NARROWEST).all(1)
        thin += int((~wide).sum())
        areas += int((~np.isclose(records.areas, sides.prod(1), rtol=1e-3)).sum())
        used[records.box_labels[wide]] = True
        for image, name in zip(images_of(records), names[split], strict=True):
            write_text(out / "Annotations" / f"{name.stem}.xml", _xml(image, name.name, labels))
        listing = "".join(f"{name.stem}\n" for name in names[split])
        write_text(out / "ImageSets" / "Main" / f"{split}.txt", listing)
    unused = [name for name, shown in zip(labels.names, used, strict=True) if not shown]
    notes = [
        f"{thin} × box of at most one pixel in width or height left out: its corners in Pascal VOC would coincide"
    ] * bool(thin)
    notes += [areas_note(areas, "Pascal VOC")] * bool(areas)
    notes += [f"classes without boxes are lost, Pascal VOC lists none: {', '.join(unused)}"] * bool(unused)
    return (*notes, *masks_note(splits, "Pascal VOC"))


def _flat_names(splits: Splits) -> dict[str, list[Path]]:
    """File names in one folder for the pictures of all splits, their stems different from each other."""
    plain = {
        split: [Path("_".join(name.parts)) for name in relative_names(records)] for split, records in splits.items()
    }
    if not _clash(plain):
        return plain
    apart = {split: [Path(f"{split}_{name}") for name in names] for split, names in plain.items()}
    if clash := _clash(apart):
        raise DataError(f"{clash[0]} and {clash[1]} would share one XML file; rename one of them")
    return apart


def _clash(names: dict[str, list[Path]]) -> tuple[Path, Path] | None:
    return find_clash(name for listed in names.values() for name in listed)


def _xml(image: ImageRecord, name: str, labels: LabelSet) -> str:
    root = ElementTree.Element("annotation")
    _add(root, {"folder": "JPEGImages", "filename": name})
    _add(ElementTree.SubElement(root, "size"), {"width": image.width, "height": image.height, "depth": 3})
    columns = (image.boxes.tolist(), image.labels.tolist(), image.crowd.tolist())
    for (x1, y1, x2, y2), label, crowd in zip(*columns, strict=True):
        if min(x2 - x1, y2 - y1) < NARROWEST:
            continue
        element = ElementTree.SubElement(root, "object")
        described = {"name": labels.names[label], "pose": "Unspecified", "truncated": 0, "difficult": int(crowd)}
        _add(element, described)
        corners = {"xmin": _pixel(x1 + 1), "ymin": _pixel(y1 + 1), "xmax": _pixel(x2), "ymax": _pixel(y2)}
        _add(ElementTree.SubElement(element, "bndbox"), corners)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _add(element: ElementTree.Element, texts: Mapping[str, object]) -> None:
    for tag, text in texts.items():
        ElementTree.SubElement(element, tag).text = str(text)


def _pixel(value: float) -> str:
    """A whole number where it is one: most programs expect no other."""
    return f"{value:.4f}".rstrip("0").rstrip(".")
