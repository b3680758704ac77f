"""Predictions as labels to correct by hand: data sets in YOLO's and COCO's layout that open again like any other."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from dinotune.data.formats.coco.write import instances_text
from dinotune.data.formats.writing import place_pictures, relative_names, require_own_stems, split_targets
from dinotune.data.formats.yolo.write import write_yolo
from dinotune.data.records import ImageRecord, LabelSet, Records
from dinotune.data.rle import encode_mask
from dinotune.files import write_text

if TYPE_CHECKING:
    import supervision as sv

SPLIT = "train"
"""Corrected labels are there to train on."""


@dataclass(frozen=True)
class Labelled:
    """A picture with its predictions as labels."""

    record: ImageRecord
    scores: Float[np.ndarray, "objects"]


def labelled(path: Path, number: int, hw: tuple[int, int], detections: "sv.Detections") -> Labelled:
    """Labels of a picture of height and width `hw`; boxes without an area, which are no labels, are left out."""
    assert detections.confidence is not None
    assert detections.class_id is not None
    boxes = detections.xyxy.astype(np.float64)
    areas = (boxes[:, 2:] - boxes[:, :2]).clip(min=0).prod(axis=1)
    keep = areas > 0
    if detections.mask is not None:
        areas = np.asarray(detections.mask).sum((1, 2)).astype(np.float64)
        keep &= areas > 0
    labels = detections.class_id.astype(np.int64)
    crowd = np.zeros(int(keep.sum()), np.bool_)
    masks = None if detections.mask is None else np.asarray(detections.mask)[keep]
    segments = None if masks is None else tuple(map(encode_mask, masks))
    record = ImageRecord(path, number, *hw, boxes[keep], labels[keep], crowd, areas[keep], segments=segments)
    return Labelled(record, detections.confidence[keep])


def check_names(paths: Sequence[Path], kinds: Sequence[str]) -> None:
    """DataError where two pictures would share a label file."""
    if "yolo" in kinds:
        require_own_stems(paths)


def write_labels(labels: LabelSet, pictures: Sequence[Labelled], out: Path, kinds: Sequence[str]) -> None:
    """Write `yolo/` and `coco/` below `out`, as far as `kinds` names them; pictures are linked, not copied."""
    records = Records.from_images("predictions", labels, [picture.record for picture in pictures])
    splits = {SPLIT: records}
    if "yolo" in kinds:
        write_yolo(splits, out / "yolo", "link")
    if "coco" in kinds:
        folder = out / "coco"
        place_pictures(records, [folder / target for target in split_targets(splits)[SPLIT]], "link")
        names = [name.as_posix() for name in relative_names(records)]
        scores = [picture.scores for picture in pictures]
        text = instances_text(labels, [picture.record for picture in pictures], names, scores)
        write_text(folder / "annotations" / f"instances_{SPLIT}.json", text)
