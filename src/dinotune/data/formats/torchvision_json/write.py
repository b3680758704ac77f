"""TorchVision JSON writer: `annotations/SPLIT/annotations_torchvision.json`, `dataset_meta.json` and `images/SPLIT`."""

import json
from pathlib import Path

from dinotune.data.formats.torchvision_json.read import ANNOTATIONS, META
from dinotune.data.formats.writing import (
    Pictures,
    Splits,
    common_labels,
    json_list,
    place_pictures,
    relative_names,
    split_targets,
    without_crowds,
)
from dinotune.files import write_text


def write_torchvision_json(splits: Splits, out: Path, pictures: Pictures = "copy") -> tuple[str, ...]:
    """Write all splits below `out`; boxes are xyxy pixels with two decimals, labels 0-based.

    Returns sentences on what the format cannot hold: ignore regions, areas; ids become 1..n. DataError for different
    classes.
    """
    labels = common_labels(splits)
    targets = split_targets(splits)
    kept, notes = without_crowds(splits, "TorchVision JSON")
    for split, records in splits.items():
        place_pictures(records, [out / target for target in targets[split]], pictures)
        entries = [
            {
                "file_name": name.as_posix(),
                "width": image.width,
                "height": image.height,
                "boxes": image.boxes.round(2).tolist(),
                "labels": image.labels.tolist(),
            }
            for image, name in zip(kept[split], relative_names(records), strict=True)
        ]
        folder = out / "annotations" / split
        write_text(folder / ANNOTATIONS, json_list(entries) + "\n")
        meta = {"classes": list(labels.names), "image_root": f"../../images/{split}"}
        write_text(folder / META, json.dumps(meta, indent=1, ensure_ascii=False) + "\n")
    return notes
