"""Pascal VOC reader: `Annotations/*.xml`, `JPEGImages`, `ImageSets/Main/SPLIT.txt` (Everingham et al. 2010).

Pixels are 1-based and inclusive there; here boxes are continuous, so (xmin - 1, ymin - 1, xmax, ymax).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree
from xml.parsers import expat

import numpy as np
from jaxtyping import Float64

from dinotune.data.formats.base import (
    LARGEST,
    SplitPlace,
    clip_boxes,
    existing,
    is_picture_name,
    note_duplicates,
    require_any_picture,
    size_from_header,
)
from dinotune.data.formats.conventions import WrittenBoxes
from dinotune.data.formats.voc.layout import find_voc, xml_files
from dinotune.data.problems import FileError, Findings, Kind, Problem, some
from dinotune.data.records import ImageRecord, LabelSet, Records
from dinotune.errors import DataError

LINE = "line"
"""Attribute under which the parser leaves each element's line, for messages."""


def read_voc(place: SplitPlace, name: str, labels: LabelSet | None, findings: Findings) -> Records:
    """Records of one split, with ids 1..n in listed order; what is wrong goes into `findings`.

    Classes are the sorted names of all XML files of the data set, or `labels`. The XML file's stem decides which
    picture it describes, since `filename` inside is often stale. Objects marked `difficult` become ignore regions
    (`crowd`), as VOC's own evaluation counts them neither way. A box whose corners coincide in x or y as written
    is taken for a slip, not for a line of one pixel: it is left out.
    """
    files = _files(place, findings)
    trees = {file: tree for file in files if (tree := _parse(file, findings)) is not None}
    if labels is None:
        labels = _all_labels(place, trees, findings)
    paths = _picture_paths(trees, place, findings)
    index = {label: i for i, label in enumerate(labels.names)}
    images: list[ImageRecord] = []
    written = WrittenBoxes()
    for file, path in paths.items():
        hw = _size_hw(trees[file], path, findings)
        if hw is not None:
            objects = _objects(trees[file], file, index, findings)
            written.add(objects.corners, hw)
            images.append(ImageRecord(path, len(images) + 1, *hw, *_columns(objects, file, hw, findings)))
    written.check_corners(place.annotations, findings)
    return Records.from_images(name, labels, images)


def _all_labels(place: SplitPlace, read: Mapping[Path, ElementTree.Element], findings: Findings) -> LabelSet:
    """Names of all XML files of all splits; those `read` already are not parsed again, the others not kept."""
    seen = {problem.file for problem in findings.problems if problem.kind is Kind.BROKEN_XML}
    names = set()
    folders = find_voc(place.classes) if place.classes is not None else {"": place}
    for file in [file for of_split in folders.values() for file in xml_files(of_split.annotations)]:
        tree = read.get(file) if file in read or file in seen else _parse(file, findings)
        names |= set() if tree is None else {_text(element) for element in tree.findall("object/name")}
    names.discard("")
    if not names:
        raise DataError(f"{place.annotations}: no object in any XML file, so there are no classes")
    return LabelSet(tuple(sorted(names)), tuple(range(1, len(names) + 1)))


def _files(place: SplitPlace, findings: Findings) -> list[Path]:
    """XML files of the split, in listed order."""
    if place.listing is None:
        files = xml_files(place.annotations)
        if not files:
            raise DataError(f"{place.annotations}: no XML files")
        return files
    lines: dict[Path, int] = {}
    for line, text in enumerate(place.listing.read_text(encoding="utf-8-sig", errors="replace").splitlines(), start=1):
        file = place.annotations / f"{text.strip()}.xml"
        if file in lines:
            findings.add(Kind.REPEATED_NAME, place.listing, f"{file.stem} stands in line {lines[file]} too", line=line)
        elif text.strip():
            lines[file] = line
    present = existing(list(lines))
    for file, line in lines.items():
        if file not in present:
            findings.add(Kind.MISSING_XML, place.listing, f"there is no {file}", line=line)
    if lines and not present:
        message = f"none of its {len(lines)} names has an XML file in {place.annotations}"
        raise FileError(Problem(Kind.MISSING_XML, place.listing, message))
    return [file for file in lines if file in present]


def _parse(file: Path, findings: Findings) -> ElementTree.Element | None:
    """The XML file's root, with every element's line as attribute `line`; none where it is broken."""
    parser, builder = expat.ParserCreate(), ElementTree.TreeBuilder()

    def start(tag: str, attributes: dict[str, str]) -> None:
        builder.start(tag, attributes | {LINE: str(parser.CurrentLineNumber)})

    parser.StartElementHandler = start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(file.read_bytes(), True)
    except (expat.ExpatError, LookupError, ValueError, OSError) as error:  # the second and third: unknown encodings
        line = error.lineno if isinstance(error, expat.ExpatError) else None
        findings.add(Kind.BROKEN_XML, file, f"not readable as XML: {error}", line=line)
        return None
    return builder.close()


def _picture_paths(
    trees: Mapping[Path, ElementTree.Element], place: SplitPlace, findings: Findings
) -> dict[Path, Path]:
    """The picture of each XML file that has one."""
    stems = [file.stem for file in trees]
    folder, by_stem = _choose_pictures(place, set(stems))
    require_any_picture(len(by_stem.keys() & set(stems)), stems, place.annotations, place.image_folders)
    paths = {}
    for file, tree in trees.items():
        names = by_stem.get(file.stem, [])
        written = (tree.findtext("filename") or "").strip()
        if len(names) == 1 or written in names:
            paths[file] = folder / (names[0] if len(names) == 1 else written)
        elif names:
            message = f"{some(names)} in {folder} share a stem; keep one, or name it in the XML's `filename`"
            findings.add(Kind.CLASHING_STEMS, file, message)
        else:
            findings.add(Kind.MISSING_PICTURE, file, f"no picture {file.stem}.* in {folder}")
    return paths


def _choose_pictures(place: SplitPlace, stems: set[str]) -> tuple[Path, dict[str, list[str]]]:
    """The first folder that holds any of the pictures (else the first one), and its file names by stem."""
    listed = {folder: _names_by_stem(folder) for folder in place.image_folders}
    holding = (folder for folder, names in listed.items() if not stems.isdisjoint(names))
    folder = next(holding, place.image_folders[0])
    return folder, listed[folder]


def _names_by_stem(folder: Path) -> dict[str, list[str]]:
    by_stem: dict[str, list[str]] = {}
    # Exports often keep each XML file beside its picture.
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if is_picture_name(path):
            by_stem.setdefault(path.stem, []).append(path.name)
    return by_stem


def _size_hw(tree: ElementTree.Element, path: Path, findings: Findings) -> tuple[int, int] | None:
    """Height and width as annotated; as the picture's header says where absent or 0, as some tools write it."""
    try:
        height, width = (int(float(tree.findtext(f"size/{key}") or 0)) for key in ("height", "width"))
    except (ValueError, OverflowError):
        height = width = 0
    usable = 0 < height <= LARGEST and 0 < width <= LARGEST
    return (height, width) if usable else size_from_header(path, findings)


class _Objects(NamedTuple):
    """The usable objects of one XML file."""

    elements: list[ElementTree.Element]
    labels: list[int]
    corners: Float64[np.ndarray, "objects 4"]
    """As written: xmin, ymin, xmax, ymax."""


def _objects(tree: ElementTree.Element, file: Path, index: dict[str, int], findings: Findings) -> _Objects:
    elements, labels, corners = [], [], []
    for element in tree.findall("object"):
        label, box = _label(element, file, index, findings), _corners(element, file, findings)
        if label is not None and box is not None:
            elements.append(element)
            labels.append(label)
            corners.append(box)
    return _Objects(elements, labels, np.array(corners, np.float64).reshape(-1, 4))


def _columns(
    objects: _Objects, file: Path, hw: tuple[int, int], findings: Findings
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Boxes, labels, crowd and areas of one picture."""
    elements, labels, written = objects
    slip = ~(written[:, 2:] > written[:, :2]).all(1)
    boxes = written - np.array([1.0, 1.0, 0.0, 0.0])
    boxes[slip, 2:] -= 1

    def note(row: int, kind: Kind, message: str) -> None:
        findings.add(kind, file, message, line=_line(elements[row]), entry=_text(elements[row].find("name")))

    note_duplicates(boxes, labels, note)
    boxes, keep = clip_boxes(boxes, hw, note)
    crowd = np.array([_text(element.find("difficult")) == "1" for element in elements], np.bool_)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return boxes[keep], np.array(labels, np.int64)[keep], crowd[keep], areas[keep]


def _label(element: ElementTree.Element, file: Path, index: dict[str, int], findings: Findings) -> int | None:
    name = _text(element.find("name"))
    if name in index:
        return index[name]
    message = f'class "{name}" is not among {some(index, 20)}' if name else "object without a name"
    findings.add(Kind.UNKNOWN_CLASS, file, message, line=_line(element))
    return None


def _corners(element: ElementTree.Element, file: Path, findings: Findings) -> list[float] | None:
    box = element.find("bndbox")
    if box is None:
        findings.add(Kind.MISSING_BOX, file, "no `bndbox`", line=_line(element), entry=_text(element.find("name")))
        return None
    texts = {key: _text(box.find(key)) for key in ("xmin", "ymin", "xmax", "ymax")}
    try:
        corners = [float(text) for text in texts.values()]
        if all(abs(corner) <= LARGEST for corner in corners):
            return corners
    except ValueError:
        pass
    written = ", ".join(f"{key} {text!r}" for key, text in texts.items())
    message = f"{written}: not four numbers"
    findings.add(Kind.MALFORMED_BOX, file, message, line=_line(box), entry=_text(element.find("name")))
    return None


def _text(element: ElementTree.Element | None) -> str:
    return "" if element is None else (element.text or "").strip()


def _line(element: ElementTree.Element) -> int:
    return int(element.attrib[LINE])
