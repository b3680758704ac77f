"""YOLO reader: pictures, their label files `labels/SPLIT/NAME.txt`, and the classes that `data.yaml` or `classes.txt` name.

https://docs.ultralytics.com/datasets/detect/. Boxes have no ids and no ignore regions there.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dinotune.data.formats.base import (
    SplitPlace,
    existing,
    pictures_below,
    require_any_picture,
    size_from_header,
)
from dinotune.data.formats.yolo.data_yaml import class_names, keypoint_columns, note_stale_paths, resolve
from dinotune.data.formats.yolo.labels import Classes, LabelColumns, looks_like_labels, read_label_file
from dinotune.data.formats.yolo.layout import CLASSES, label_beside
from dinotune.data.problems import FileError, Findings, Kind, Problem, some
from dinotune.data.records import ImageRecord, LabelSet, Records


def read_yolo(place: SplitPlace, name: str, labels: LabelSet | None, findings: Findings) -> Records:
    """Records of one split, with ids 1..n in sorted order; what is wrong goes into `findings`.

    Classes are those that the data set names, or `labels`. The label file of a picture has its path with the last
    `images` replaced by `labels` and the suffix `.txt`; a picture without one shows no objects. Polygons become
    boxes, and masks where these are wanted. Sizes come from the pictures' headers. DataError where nothing is left to
    read: pictures, labels, names.
    """
    classes_file = place.classes or place.annotations
    if place.annotations.is_file():
        note_stale_paths(place.annotations, findings)
    names = class_names(classes_file, findings)
    if labels is None:
        labels = LabelSet(tuple(names), tuple(range(1, len(names) + 1)))
    classes = Classes(names, {label: i for i, label in enumerate(labels.names)}, keypoint_columns(classes_file))
    files = _label_files(place, findings)
    written = _written(files, place)
    _note_orphans(place, files, findings)
    images: list[ImageRecord] = []
    for picture, file in _without_clashes(files, findings).items():
        hw = size_from_header(picture, findings)
        found = _objects(file if file in written else None, hw, classes, findings) if hw else None
        if hw is not None and found is not None:
            images.append(_image(picture, len(images) + 1, hw, found, masks=place.masks.wanted))
    return Records.from_images(name, labels, images)


def _label_files(place: SplitPlace, findings: Findings) -> dict[Path, Path]:
    """Label file of each picture, whether it is there or not, in sorted order of the pictures."""
    found: dict[Path, Path] = {}
    for source in place.image_folders:
        if source.is_dir():
            for picture in pictures_below(source):
                found[picture] = _label_file(picture, source, place)
        elif source.is_file():
            found |= {picture: label_beside(picture) for picture in _listed(source, findings)}
        else:
            message = f"{source} does not exist; mend the path, or delete its line if there is no such split"
            raise FileError(Problem(Kind.MISSING_PICTURE, place.annotations, message))
    if not found:
        message = f"no pictures in {some(place.image_folders, 6)}"
        raise FileError(Problem(Kind.MISSING_PICTURE, place.annotations, message))
    return dict(sorted(found.items()))


def _label_file(picture: Path, folder: Path, place: SplitPlace) -> Path:
    if place.annotations.is_dir():
        return (place.annotations / picture.relative_to(folder)).with_suffix(".txt")
    return label_beside(picture)


def _listed(listing: Path, findings: Findings) -> list[Path]:
    """Pictures that a text names, one per line, below its own folder or as absolute paths."""
    lines: dict[Path, int] = {}
    stale = False
    for line, text in enumerate(listing.read_bytes().decode("utf-8-sig", errors="replace").splitlines(), start=1):
        written = text.strip().replace("\\", "/")
        if not written:
            continue
        picture = resolve(written, listing.parent, listing.parent)
        if picture in lines:
            findings.add(Kind.REPEATED_NAME, listing, f"{written} stands in line {lines[picture]} too", line=line)
            continue
        lines[picture] = line
        if not stale and not (listing.parent / written).exists() and picture.exists():
            stale = True
            message = f"{written} does not exist here; {picture} is taken, and so for the other lines"
            findings.add(Kind.STALE_PATH, listing, message, line=line)
    present = existing(list(lines))
    require_any_picture(len(present), [str(picture) for picture in lines], listing, (listing.parent,))
    for picture, line in lines.items():
        if picture not in present:
            findings.add(Kind.MISSING_PICTURE, listing, f"{picture} does not exist", line=line)
    return [picture for picture in lines if picture in present]


def _written(files: Mapping[Path, Path], place: SplitPlace) -> set[Path]:
    """Label files that are there; FileError where none is, since then the folder is wrong."""
    written = existing(list(files.values()))
    if not written:
        picture, file = next(iter(files.items()))
        message = f"none of {len(files)} pictures has a label file; that of {picture} would be {file}"
        raise FileError(Problem(Kind.MISSING_LABELS, place.annotations, message))
    return written


def _without_clashes(files: Mapping[Path, Path], findings: Findings) -> dict[Path, Path]:
    """Leave out pictures that share a label file: it cannot describe both."""
    pictures: dict[Path, list[Path]] = {}
    for picture, file in files.items():
        pictures.setdefault(file, []).append(picture)
    for file, sharing in pictures.items():
        if len(sharing) > 1:
            message = f"{some(picture.name for picture in sharing)} share the label file {file}; rename or delete one"
            findings.add(Kind.CLASHING_STEMS, sharing[0], message)
    return {picture: file for picture, file in files.items() if len(pictures[file]) == 1}


def _note_orphans(place: SplitPlace, files: Mapping[Path, Path], findings: Findings) -> None:
    """Note label files of the folders, as far as they hold labels, that belong to no picture."""
    expected = set(files.values())
    for source in place.image_folders:
        if source.is_dir():
            folder = _label_file(source / "any", source, place).parent
            for file in sorted(folder.rglob("*.txt")):
                if file not in expected and file.name != CLASSES and looks_like_labels(file):
                    message = f"no picture {file.stem}.* in {source}; restore the picture or delete the file"
                    findings.add(Kind.ORPHAN_LABEL, file, message)


def _image(picture: Path, image_id: int, hw: tuple[int, int], found: LabelColumns, *, masks: bool) -> ImageRecord:
    columns = (found.boxes, found.labels, np.zeros(len(found.boxes), np.bool_), found.areas)
    return ImageRecord(picture, image_id, *hw, *columns, segments=found.segments if masks else None)


def _objects(file: Path | None, hw: tuple[int, int], classes: Classes, findings: Findings) -> LabelColumns | None:
    """The objects of one picture; none where its label file is no text."""
    if file is None:
        return LabelColumns(np.empty((0, 4)), np.empty(0, np.int64), np.empty(0), ())
    return read_label_file(file, hw, classes, findings)
