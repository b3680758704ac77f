"""What all writers share: names of pictures below the output, copying or linking them, and what a format cannot hold."""

import itertools
import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dinotune.data.records import ImageRecord, LabelSet, Records
from dinotune.data.segments import single_polygon
from dinotune.errors import DataError
from dinotune.files import write_atomically

Splits = Mapping[str, Records]
"""Records to write by the name of their split."""

Pictures = Literal["copy", "link", "none"]
"""What becomes of the pictures: copied, linked to where they lie (symbolic links), or left there."""


def common_labels(splits: Splits) -> LabelSet:
    """The classes of all splits; DataError where they differ."""
    first, *others = splits.values()
    for records in others:
        if records.labels.names != first.labels.names:
            raise DataError(f"{first.name} and {records.name} have different classes; read both with the same labels")
    return first.labels


def images_of(records: Records) -> list[ImageRecord]:
    """The single pictures of a split."""
    return [records[index] for index in range(len(records))]


def relative_names(records: Records) -> list[Path]:
    """Each picture's path below the deepest folder that holds all: `1.jpg`, or `a/1.jpg` and `b/1.jpg`."""
    paths = [Path(str(path)).absolute() for path in records.paths]
    above = os.path.commonpath([path.parent for path in paths])
    return [path.relative_to(above) for path in paths]


def split_targets(splits: Splits) -> dict[str, list[Path]]:
    """`images/SPLIT/NAME` for every picture."""
    return {
        split: [Path("images", split) / name for name in relative_names(records)] for split, records in splits.items()
    }


def place_pictures(records: Records, targets: Iterable[Path], pictures: Pictures) -> None:
    """Copy or link each picture to its target; one that is there already stays."""
    if pictures == "none":
        return
    for source, target in zip(records.paths, targets, strict=True):
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and target.samefile(source):
            continue
        if pictures == "copy":
            _copy(Path(str(source)), target)
        else:
            target.unlink(missing_ok=True)
            target.symlink_to(Path(str(source)).resolve())


def _copy(source: Path, target: Path) -> None:
    write_atomically(target, lambda temporary: shutil.copyfile(source, temporary))


def classes_of(records: Records, format_name: str) -> list[str]:
    """The class of each picture by name; DataError where labels are boxes."""
    if records.image_labels is None:
        raise DataError(f"{records.name}: labels are boxes; {format_name} holds one class per picture")
    return [records.labels.names[label] for label in records.image_labels.tolist()]


def lost_classes(labels: LabelSet, used: Iterable[str]) -> tuple[str, ...]:
    """A sentence on classes without pictures, which formats without a list of classes lose; none where all are used."""
    lost = sorted(set(labels.names) - set(used))
    return (f"classes without pictures are lost: {', '.join(lost)}",) if lost else ()


def without_crowds(
    splits: Splits, format_name: str, *, polygons: bool = False
) -> tuple[dict[str, list[ImageRecord]], tuple[str, ...]]:
    """Pictures without ignore regions and with areas of boxes, for formats that hold neither; and what that loses.

    With `polygons`, the format holds masks that are one polygon, which stand for their areas too; else none.
    """
    kept, crowds, areas, masks = {}, 0, 0, 0
    for split, records in splits.items():
        kept[split] = [_without_crowd(image) for image in images_of(records)]
        crowds += int(records.crowd.sum())
        texts = [text for image in kept[split] for text in image.segments or ("",) * len(image.boxes)]
        held = np.array([polygons and single_polygon(text) is not None for text in texts], np.bool_)
        masks += sum(bool(text) for text, whole in zip(texts, held.tolist(), strict=True) if not whole)
        boxes, own = records.boxes[~records.crowd], records.areas[~records.crowd]
        width, height = (boxes[:, 2:] - boxes[:, :2]).T
        areas += int((~held & ~np.isclose(own, width * height, rtol=1e-3)).sum())
    notes = [f"{crowds} × ignore region (crowd, difficult) left out: {format_name} has none"] * bool(crowds)
    notes += [areas_note(areas, format_name)] * bool(areas)
    but = " but single polygons" if polygons else ""
    notes += [f"{masks} × mask of an object left out, its box stands for it: {format_name} has none{but}"] * bool(masks)
    return kept, tuple(notes)


def masks_note(splits: Splits, format_name: str) -> tuple[str, ...]:
    """A sentence on masks of objects that a format cannot hold; none where there are none."""
    segments = [records.segments for records in splits.values() if records.segments is not None]
    masks = sum(int((np.diff(found.offsets) > 0).sum()) for found in segments)
    return (f"{masks} × mask of an object left out: {format_name} has none",) * bool(masks)


def areas_note(count: int, format_name: str) -> str:
    """Sentence on areas of masks that a format cannot hold."""
    return f"{count} × area of a mask left out, that of the box stands for it: {format_name} has no areas"


def _without_crowd(image: ImageRecord) -> ImageRecord:
    keep = ~image.crowd
    columns = (image.boxes[keep], image.labels[keep], image.crowd[keep], image.areas[keep])
    segments = image.segments and tuple(itertools.compress(image.segments, keep.tolist()))
    return ImageRecord(image.path, image.image_id, image.height, image.width, *columns, segments=segments)


def require_own_stems(names: Sequence[Path]) -> None:
    """DataError naming two pictures of one folder that differ in the suffix alone."""
    if clash := find_clash(names):
        first, second = clash
        raise DataError(f"{first} and {second} would share one label file; rename one of them")


def find_clash(names: Iterable[Path]) -> tuple[Path, Path] | None:
    """The first two names that are the same without their suffixes."""
    seen: dict[Path, Path] = {}
    for name in names:
        stem = name.with_suffix("")
        if stem in seen:
            return seen[stem], name
        seen[stem] = name
    return None


def json_list(entries: Sequence[Any]) -> str:
    """A JSON list with a line per entry, so that messages about a line say something."""
    lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries)
    return f"[\n{lines}\n]" if lines else "[]"
