"""YOLO writer: `labels/SPLIT/NAME.txt`, `images/SPLIT` and `data.yaml`; also the text of one picture alone.

https://docs.ultralytics.com/datasets/detect/.
"""

from collections.abc import Mapping
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
from dinotune.errors import DataError
from dinotune.files import write_text


def write_yolo(splits: Splits, out: Path, pictures: Pictures = "copy") -> tuple[str, ...]:
    """Write all splits below `out`. Every picture gets a label file, an empty one where it shows nothing.

    Returns sentences on what the format cannot hold: ignore regions, areas; ids become 1..n. DataError for different
    classes, pictures that would share a label file, and pictures whose EXIF rotation the annotations leave out.
    """
    names = common_labels(splits).names
    targets = split_targets(splits)
    for listed in targets.values():
        require_own_stems(listed)
    kept, notes = without_crowds(splits, "YOLO")
    for split, records in splits.items():
        place_pictures(records, [out / target for target in targets[split]], pictures)
        for image, target in zip(kept[split], targets[split], strict=True):
            _check_size(image)
            text = label_text(image.boxes, image.labels, (image.height, image.width))
            write_text(out / label_beside(target), text)
    write_text(out / "data.yaml", _data_yaml(splits, dict(enumerate(names))))
    return notes


def label_text(boxes: Float[np.ndarray, "objects 4"], labels: Int[np.ndarray, "objects"], hw: tuple[int, int]) -> str:
    """Lines `class cx cy w h` of one picture of height and width `hw`, from xyxy pixel boxes and 0-based labels."""
    height, width = hw
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 / (width, height)
    sides = (boxes[:, 2:] - boxes[:, :2]) / (width, height)
    shares = np.concatenate([centres, sides], 1).tolist()
    lines = (
        " ".join([str(label), *(f"{share:.6f}" for share in row)])
        for label, row in zip(labels.tolist(), shares, strict=True)
    )
    return "".join(f"{line}\n" for line in lines)


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
