"""Mask folder writer: `images/SPLIT`, `masks/SPLIT/NAME.png` and `classes.yaml`."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from dinotune.config.tasks import IGNORED_VALUE
from dinotune.data.formats.mask_folder.class_files import OURS
from dinotune.data.formats.mask_folder.meanings import is_ignored_name
from dinotune.data.formats.writing import (
    Pictures,
    Splits,
    common_labels,
    images_of,
    place_pictures,
    require_own_stems,
    split_targets,
)
from dinotune.data.problems import some
from dinotune.data.records import ImageRecord, LabelSet
from dinotune.errors import DataError
from dinotune.files import write_atomically, write_text

LARGEST_VALUE = 2**16 - 1
"""Of a grey PNG."""


def write_mask_folder(splits: Splits, out: Path, pictures: Pictures = "copy") -> tuple[str, ...]:
    """Write all splits below `out`, from masks or painted from objects; values are the original ids where these fit.

    Returns sentences on what the format cannot hold: single objects, ids that are no value of a PNG or 255. DataError
    for different classes, other labels than classes of pixels, and pictures that would share a mask.
    """
    from dinotune.data.pixel_labels import class_map  # loads cv2, which no reader needs

    labels = common_labels(splits)
    for records in splits.values():
        if records.has != "semantic_masks":
            raise DataError(f"{records.name}: a mask folder holds classes of pixels, but the labels are {records.has}")
    values = _values(labels)
    meaning = np.array([*values, IGNORED_VALUE], np.uint16 if max(values) > IGNORED_VALUE else np.uint8)
    write_masks(splits, out, "masks", pictures, lambda image: meaning[class_map(image)])
    named = {"classes": dict(zip(values, labels.names, strict=True))}
    write_text(out / OURS, yaml.safe_dump(named, sort_keys=False, allow_unicode=True))
    return tuple(_notes(splits, labels, values))


def write_masks(
    splits: Splits, out: Path, folder: str, pictures: Pictures, pixels: Callable[[ImageRecord], np.ndarray]
) -> None:
    """Write `images/SPLIT` and a mask of `pixels` for each picture in `FOLDER/SPLIT`."""
    targets = split_targets(splits)
    for listed in targets.values():
        require_own_stems(listed)
    for split, records in splits.items():
        place_pictures(records, [out / target for target in targets[split]], pictures)
        for image, target in zip(images_of(records), targets[split], strict=True):
            mask = Image.fromarray(pixels(image))
            path = out / folder / Path(*target.parts[1:]).with_suffix(".png")
            write_atomically(path, lambda temporary, mask=mask: mask.save(temporary, "PNG"))  # type: ignore[misc]


def _values(labels: LabelSet) -> tuple[int, ...]:
    if all(0 <= id_ <= LARGEST_VALUE and id_ != IGNORED_VALUE for id_ in labels.ids):
        return labels.ids
    return tuple(number + (number >= IGNORED_VALUE) for number in range(len(labels)))


def _notes(splits: Splits, labels: LabelSet, values: tuple[int, ...]) -> Iterator[str]:
    if values != labels.ids:
        yield f"ids of classes become {some(values)}: a mask folder holds 0 to {LARGEST_VALUE} without {IGNORED_VALUE}"
    segments = [records.segments for records in splits.values() if records.segments is not None]
    if objects := sum(int(own.present.sum()) for own in segments):
        yield f"{objects} × object painted: a mask folder holds classes of pixels"
    if ignored := [name for name in labels.names if is_ignored_name(name)]:
        yield f"classes that are ignored where a mask folder is read, by their names: {some(ignored, 10)}"
