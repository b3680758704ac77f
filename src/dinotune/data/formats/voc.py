"""Pascal VOC reader: `Annotations/*.xml`, `JPEGImages`, `ImageSets/Main/SPLIT.txt` (Everingham et al. 2010).

Pixels are 1-based and inclusive there; here boxes are continuous, so (xmin - 1, ymin - 1, xmax, ymax).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

import numpy as np
from PIL import Image

from dinotune.data.formats.base import SPLIT_ALIASES, Findings, SplitPlace, some
from dinotune.data.images import image_size_hw
from dinotune.data.records import ImageRecord, LabelSet, Records
from dinotune.errors import DataError

LOOKED_FOR = "Annotations/*.xml with ImageSets/Main/SPLIT.txt"

LINE = "line"
"""Attribute under which the parser leaves each element's line, for messages."""


def find_voc(root: Path) -> dict[str, SplitPlace]:
    """Splits of a Pascal VOC folder by name (`train`, `val`, `test`); empty where nothing is found."""
    if not (root / "Annotations").is_dir():
        return {}
    found = {}
    for split, aliases in SPLIT_ALIASES.items():
        listings = [root / "ImageSets" / "Main" / f"{alias}.txt" for alias in aliases]
        if existing := [path for path in listings if path.is_file()]:
            found[split] = SplitPlace(root / "Annotations", (root / "JPEGImages",), existing[0])
    return found


def read_voc(place: SplitPlace, name: str, labels: LabelSet | None = None) -> Records:
    """Records of one split, with ids 1..n in listed order.

    Classes are the sorted names of all XML files of the folder, or `labels`. The XML file's stem decides which
    picture it describes, since `filename` inside is often stale. Objects marked `difficult` become ignore regions
    (`crowd`), as VOC's own evaluation counts them neither way. A box whose corners coincide in x or y as written
    is taken for a slip, not for a line of one pixel: it is left out and noted, with file and line.
    """
    stems, notes = _stems(place)
    files = [place.annotations / f"{stem}.xml" for stem in stems]
    if missing := [file.name for file in files if not file.is_file()]:
        raise DataError(
            f"{place.listing}: {len(missing)} of {len(files)} names have no file in {place.annotations}: {some(missing)}"
        )
    trees = [_parse(file) for file in files]
    if labels is None:
        labels = _all_labels(place.annotations, dict(zip(files, trees, strict=True)))
    paths = _picture_paths(stems, trees, place)
    findings = Findings()
    index = {label: i for i, label in enumerate(labels.names)}
    images = []
    for image_id, (tree, file, path) in enumerate(zip(trees, files, paths, strict=True), start=1):
        hw = _size_hw(tree) or image_size_hw(path)
        images.append(ImageRecord(path, image_id, *hw, *_columns(tree, file, hw, index, findings)))
    return Records.from_images(name, labels, images, notes + findings.notes())


def _all_labels(folder: Path, read: Mapping[Path, ElementTree.Element]) -> LabelSet:
    """Names of all XML files of the folder; those `read` already are not parsed again, the others not kept."""
    names = {
        (element.text or "").strip()
        for file in sorted(folder.glob("*.xml"))
        for element in (read[file] if file in read else _parse(file)).findall("object/name")
    }
    if not names:
        raise DataError(f"{folder}: no object in any XML file, so there are no classes")
    return LabelSet(tuple(sorted(names)), tuple(range(1, len(names) + 1)))


def _stems(place: SplitPlace) -> tuple[list[str], tuple[str, ...]]:
    if place.listing is None:
        stems = sorted(path.stem for path in place.annotations.glob("*.xml"))
        if not stems:
            raise DataError(f"{place.annotations}: no XML files")
        return stems, ()
    listed = [line.strip() for line in place.listing.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    stems = list(dict.fromkeys(listed))
    repeated = len(listed) - len(stems)
    return stems, (f"{repeated} repeated names in {place.listing.name} left out",) if repeated else ()


def _parse(file: Path) -> ElementTree.Element:
    """The XML file's root, with every element's line as attribute `line`."""
    parser, builder = expat.ParserCreate(), ElementTree.TreeBuilder()

    def start(tag: str, attributes: dict[str, str]) -> None:
        builder.start(tag, attributes | {LINE: str(parser.CurrentLineNumber)})

    parser.StartElementHandler = start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(file.read_bytes(), True)
    except expat.ExpatError as error:
        raise DataError(f"{file}: not readable as XML: {error}") from None
    return builder.close()


def _picture_paths(stems: Sequence[str], trees: Sequence[ElementTree.Element], place: SplitPlace) -> list[Path]:
    folder = next((folder for folder in place.image_folders if folder.is_dir()), place.image_folders[0])
    by_stem: dict[str, list[str]] = {}
    # Exports often keep each XML file beside its picture.
    suffixes = Image.registered_extensions()
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix.lower() in suffixes:
            by_stem.setdefault(path.stem, []).append(path.name)
    if missing := [stem for stem in stems if stem not in by_stem]:
        raise DataError(
            f"{place.annotations}: {len(missing)} of {len(stems)} pictures do not exist: {some(missing)}; "
            f"searched {folder}. Name the folder with data.SPLIT.images"
        )
    return [folder / _choose(by_stem[stem], tree, folder) for stem, tree in zip(stems, trees, strict=True)]


def _choose(names: list[str], tree: ElementTree.Element, folder: Path) -> str:
    if len(names) == 1:
        return names[0]
    written = (tree.findtext("filename") or "").strip()
    if written not in names:
        raise DataError(f"{folder}: {some(names)} share a stem; keep one, or name it in the XML's `filename`")
    return written


def _size_hw(tree: ElementTree.Element) -> tuple[int, int] | None:
    """Height and width as annotated; none where absent or 0, as some tools write it."""
    try:
        height, width = (int(float(tree.findtext(f"size/{key}") or 0)) for key in ("height", "width"))
    except ValueError:
        return None
    return (height, width) if height > 0 and width > 0 else None


def _columns(
    tree: ElementTree.Element, file: Path, hw: tuple[int, int], index: dict[str, int], findings: Findings
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Boxes, labels, crowd and areas of one picture."""
    objects = tree.findall("object")
    places = [f"{file.name} line {element.get(LINE)}" for element in objects]
    written = np.array([_corners(element, file) for element in objects], np.float64).reshape(-1, 4)
    slip = ~(written[:, 2:] > written[:, :2]).all(1)
    boxes = written - np.array([1.0, 1.0, 0.0, 0.0])
    boxes[slip, 2:] = boxes[slip, :2]
    boxes, keep = findings.usable(boxes, hw, places)
    labels = np.array([_label(element, file, index) for element in objects], np.int64)
    crowd = np.array([(element.findtext("difficult") or "0").strip() == "1" for element in objects], np.bool_)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return boxes[keep], labels[keep], crowd[keep], areas[keep]


def _label(element: ElementTree.Element, file: Path, index: dict[str, int]) -> int:
    name = (element.findtext("name") or "").strip()
    if name not in index:
        raise DataError(f'{file} line {element.get(LINE)}: class "{name}" is not among {some(index, 20)}')
    return index[name]


def _corners(element: ElementTree.Element, file: Path) -> list[float]:
    texts = {key: (element.findtext(f"bndbox/{key}") or "").strip() for key in ("xmin", "ymin", "xmax", "ymax")}
    try:
        corners = [float(text) for text in texts.values()]
        if np.isfinite(corners).all():
            return corners
    except ValueError:
        pass
    raise DataError(f"{file} line {element.get(LINE)}: box {texts} is not four numbers xmin, ymin, xmax, ymax")
