"""COCO writer: `annotations/instances_SPLIT.json` and `images/SPLIT`; also detections, as labels to be corrected.

Lin et al. 2014, https://cocodataset.org/#format-data.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dinotune.data.formats.writing import (
    Pictures,
    Splits,
    common_labels,
    images_of,
    json_list,
    place_pictures,
    relative_names,
    split_targets,
)
from dinotune.data.records import ImageRecord, LabelSet
from dinotune.files import write_text

DECIMALS = 6
"""Of pixels; sums of rounded sides stay far below what anyone can see."""


def write_coco(splits: Splits, out: Path, pictures: Pictures = "copy") -> tuple[str, ...]:
    """Write all splits below `out`; ids of pictures and classes, ignore regions, areas and masks are kept.

    Returns sentences on what the format cannot hold: none. DataError where the splits have different classes.
    """
    common_labels(splits)
    for split, targets in split_targets(splits).items():
        records = splits[split]
        place_pictures(records, [out / target for target in targets], pictures)
        names = [name.as_posix() for name in relative_names(records)]
        write_text(
            out / "annotations" / f"instances_{split}.json", instances_text(records.labels, images_of(records), names)
        )
    return ()


def instances_text(
    labels: LabelSet,
    images: Sequence[ImageRecord],
    file_names: Sequence[str],
    scores: Sequence[np.ndarray] | None = None,
) -> str:
    """JSON of pictures, boxes, masks and classes with original ids; with `scores` `[objects]` per picture, boxes have a `score`."""
    entries: list[dict[str, Any]] = []
    for number, image in enumerate(images):
        columns = (image.boxes.tolist(), image.labels.tolist(), image.crowd.tolist(), image.areas.tolist())
        for row, ((x1, y1, x2, y2), label, crowd, area) in enumerate(zip(*columns, strict=True)):
            entry: dict[str, Any] = {
                "id": len(entries) + 1,
                "image_id": image.image_id,
                "category_id": labels.ids[label],
                "bbox": [round(value, DECIMALS) for value in (x1, y1, x2 - x1, y2 - y1)],
                "area": round(area, DECIMALS),
                "iscrowd": int(crowd),
            }
            if image.segments is not None and image.segments[row]:
                entry["segmentation"] = json.loads(image.segments[row])
            entries.append(entry if scores is None else entry | {"score": round(float(scores[number][row]), DECIMALS)})
    named = zip(images, file_names, strict=True)
    listed = {
        "images": [
            {"id": image.image_id, "file_name": name, "width": image.width, "height": image.height}
            for image, name in named
        ],
        "categories": [{"id": id_, "name": name} for id_, name in zip(labels.ids, labels.names, strict=True)],
        "annotations": entries,
    }
    return "{" + ",\n".join(f'"{key}": {json_list(values)}' for key, values in listed.items()) + "}\n"
