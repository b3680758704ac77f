"""Class list writer: `SPLIT.csv` with the columns `file` and `class`, pictures in `images/SPLIT`."""

import csv
import io
from pathlib import Path

from dinotune.data.formats.writing import (
    Pictures,
    Splits,
    classes_of,
    common_labels,
    lost_classes,
    place_pictures,
    split_targets,
)
from dinotune.files import write_text


def write_class_list(splits: Splits, out: Path, pictures: Pictures) -> tuple[str, ...]:
    """Write splits below `out`; what the format cannot hold is said. DataError where labels are boxes."""
    labels = common_labels(splits)
    targets = split_targets(splits)
    used: set[str] = set()
    for split, records in splits.items():
        classes = classes_of(records, "a class list")
        used.update(classes)
        files = (
            [str(Path(str(path)).absolute()) for path in records.paths]
            if pictures == "none"
            else [target.relative_to(f"images/{split}").as_posix() for target in targets[split]]
        )
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([("file", "class"), *zip(files, classes, strict=True)])
        place_pictures(records, [out / target for target in targets[split]], pictures)
        write_text(out / f"{split}.csv", text.getvalue())
    return lost_classes(labels, used)
