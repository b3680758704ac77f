"""ImageFolder writer: `SPLIT/CLASS/NAME` for every picture."""

from pathlib import Path

from dinotune.data.formats.writing import (
    Pictures,
    Splits,
    classes_of,
    common_labels,
    lost_classes,
    place_pictures,
    relative_names,
)
from dinotune.errors import DataError


def write_image_folder(splits: Splits, out: Path, pictures: Pictures) -> tuple[str, ...]:
    """Write splits below `out`; what the format cannot hold is said.

    Raises:
        DataError: labels are boxes, or `pictures` is `none`: here the place of a picture is its label.
    """
    labels = common_labels(splits)
    if pictures == "none":
        raise DataError("an ImageFolder is its pictures; copy or link them")
    used: set[str] = set()
    for split, records in splits.items():
        classes = classes_of(records, "an ImageFolder")
        used.update(classes)
        names = relative_names(records)
        # Below its class a picture keeps only what its path says beside that class.
        kept = [
            Path(*[part for part in name.parts if part != label]) for name, label in zip(names, classes, strict=True)
        ]
        targets = [out / split / label / "_".join(name.parts) for label, name in zip(classes, kept, strict=True)]
        if len(set(targets)) < len(targets):
            raise DataError(f"{records.name}: two pictures of a class have the same name; rename one of them")
        place_pictures(records, targets, pictures)
    return lost_classes(labels, used)
