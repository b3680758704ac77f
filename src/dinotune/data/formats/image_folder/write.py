"""ImageFolder writer: `SPLIT/CLASS/NAME` for every picture."""

from pathlib import Path

from dinotune.data.formats.writing import Pictures, Splits, common_labels, place_pictures, relative_names
from dinotune.errors import DataError


def write_image_folder(splits: Splits, out: Path, pictures: Pictures) -> tuple[str, ...]:
    """Write splits below `out`; what the format cannot hold is said.

    Raises:
        DataError: labels are boxes, or `pictures` is `none`: here the place of a picture is its label.
    """
    labels = common_labels(splits)
    if pictures == "none":
        raise DataError("an ImageFolder is its pictures; copy or link them")
    used = set()
    for split, records in splits.items():
        if records.image_labels is None:
            raise DataError(f"{records.name}: labels are boxes; an ImageFolder holds one class per picture")
        classes = [labels.names[label] for label in records.image_labels.tolist()]
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
    unused = [name for name in labels.names if name not in used]
    return tuple([f"classes without pictures are lost: {', '.join(unused)}"] * bool(unused))
