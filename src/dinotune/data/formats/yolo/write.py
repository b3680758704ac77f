"""YOLO writer: `labels/SPLIT/NAME.txt`, `images/SPLIT` and `data.yaml`; also the text of one picture alone.

https://docs.ultralytics.com/datasets/detect/.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml
from jaxtyping import Float, Int

from dinotune.data.formats.writing import (
    Pictures,
    Splits,
    common_labels,
    place_pictures,
    require_own_stems,
    split_targets,
    without_crowds,
)
from dinotune.data.formats.yolo.layout import label_beside
from dinotune.data.images import image_size_hw
from dinotune.data.records import ImageRecord
from dinotune.data.segments import single_polygon
from dinotune.errors import DataError
from dinotune.files import write_text


def write_yolo(splits: Splits, out: Path, pictures: Pictures = "copy") -> tuple[str, ...]:
    """Write all splits below `out`. Every picture gets a label file, an empty one where it shows nothing.

    Masks that are one polygon are written as such, other objects as boxes. Returns sentences on what the format cannot
    hold: ignore regions, areas, other masks; ids become 1..n. DataError for different
    classes, pictures that would share a label file, and pictures whose EXIF rotation the annotations leave out.
    """
    names = common_labels(splits).names
    targets = split_targets(splits)
    for listed in targets.values():
        require_own_stems(listed)
    kept, notes = without_crowds(splits, "YOLO", polygons=True)
    for split, records in splits.items():
        place_pictures(records, [out / target for target in targets[split]], pictures)
        for image, target in zip(kept[split], targets[split], strict=True):
            _check_size(image)
            text = label_text(image.boxes, image.labels, (image.height, image.width), image.segments)
            write_text(out / label_beside(target), text)
    write_text(out / "data.yaml", _data_yaml(splits, dict(enumerate(names))))
    return notes


def label_text(
    boxes: Float[np.ndarray, "objects 4"],
    labels: Int[np.ndarray, "objects"],
    hw: tuple[int, int],
    segments: Sequence[str] | None = None,
) -> str:
    """Lines `class cx cy w h` of one picture of height and width `hw`, from xyxy pixel boxes and 0-based labels.

    Of objects whose mask in `segments` is one polygon, `class x y x y ...`.
    """
    height, width = hw
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 / (width, height)
    sides = (boxes[:, 2:] - boxes[:, :2]) / (width, height)
    shares = np.concatenate([centres, sides], 1).tolist()
    polygons = [single_polygon(text) for text in segments or ("",) * len(boxes)]
    lines = (
        " ".join([str(label), *(f"{share:.6f}" for share in (_shares(polygon, hw) if polygon else row))])
        for label, row, polygon in zip(labels.tolist(), shares, polygons, strict=True)
    )
    return "".join(f"{line}\n" for line in lines)


def _shares(polygon: Sequence[float], hw: tuple[int, int]) -> list[float]:
    points = np.clip(np.array(polygon).reshape(-1, 2) / (hw[1], hw[0]), 0, 1)
    shares: list[float] = points.reshape(-1).tolist()
    return shares


def _check_size(image: ImageRecord) -> None:
    """YOLO takes sizes from the pictures, upright by their EXIF; boxes of others would land elsewhere."""
    if image.path.is_file() and (shown := image_size_hw(image.path)) != (image.height, image.width):
        raise DataError(
            f"{image.path}: annotated as {image.width} x {image.height}, but shown as {shown[1]} x {shown[0]} "
            "(width x height), which YOLO goes by; save the picture upright"
        )


def _data_yaml(splits: Splits, names: Mapping[int, str]) -> str:
    # Without `path`, readers take the file's own folder, wherever it is moved.
    content = {split: f"images/{split}" for split in splits} | {"names": dict(names)}
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
