"""Where CIFAR's files lie, and where their pictures are unpacked.

Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images.
"""

from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from dinotune.data.formats.base import SplitPlace
from dinotune.errors import DataError

LOOKED_FOR = "cifar-10-batches-py/data_batch_1 with batches.meta, cifar-100-python/train with meta"


@dataclass(frozen=True)
class Variant:
    """One of the two data sets."""

    name: str
    folder: str
    archive: str
    splits: dict[str, tuple[str, ...]]
    """Files of each split, in order."""
    meta: str
    """File with the names of the classes."""
    labels_key: str
    names_key: str


CIFAR_10 = Variant(
    "CIFAR-10",
    "cifar-10-batches-py",
    "cifar-10-python.tar.gz",
    {"train": tuple(f"data_batch_{number}" for number in range(1, 6)), "test": ("test_batch",)},
    "batches.meta",
    "labels",
    "label_names",
)
CIFAR_100 = Variant(
    "CIFAR-100",
    "cifar-100-python",
    "cifar-100-python.tar.gz",
    {"train": ("train",), "test": ("test",)},
    "meta",
    "fine_labels",
    "fine_label_names",
)
VARIANTS = (CIFAR_10, CIFAR_100)


def find_cifar(root: Path) -> dict[str, SplitPlace]:
    """Splits by name (`train`, `test`), of files in the folder or one level below; empty where nothing is found.

    DataError where both data sets lie there.
    """
    found = [
        (variant, folder) for variant in VARIANTS for folder in (root, root / variant.folder) if _is(variant, folder)
    ]
    if len(found) > 1:
        raise DataError(f"{root}: holds CIFAR-10 and CIFAR-100; name one of them: {found[0][1]}, {found[1][1]}")
    return {
        split: SplitPlace(folder / files[0], picture_folders(folder))
        for variant, folder in found
        for split, files in variant.splits.items()
        if any((folder / file).is_file() for file in files)
    }


def find_file(file: Path) -> tuple[Variant, str]:
    """The data set and the split that a file belongs to, by its name; DataError for any other file."""
    for variant in VARIANTS:
        for split, files in variant.splits.items():
            if file.name in files and (file.parent / variant.meta).is_file():
                return variant, split
    names = ", ".join(files[0] for variant in VARIANTS for files in variant.splits.values())
    raise DataError(f"{file}: no file of CIFAR's; name one of {names}, with the names of the classes beside it")


def is_cifar_file(file: Path) -> bool:
    """Whether a file is one of CIFAR's, by its name and the one beside it."""
    try:
        find_file(file)
    except DataError:
        return False
    return True


def picture_folders(batches: Path) -> tuple[Path, ...]:
    """Where the pictures of a folder of CIFAR's files are unpacked: beside it."""
    batches = batches.resolve()
    return (batches.with_name(f"{batches.name}-pictures"),)


def how_to_extract(root: Path) -> str:
    """What to do with an archive that lies there unopened; empty where there is none."""
    archives = [root / variant.archive for variant in VARIANTS if (root / variant.archive).is_file()]
    return "".join(f"; extract CIFAR first: tar -xzf {quote(str(file))} -C {quote(str(root))}" for file in archives)


def _is(variant: Variant, folder: Path) -> bool:
    files = (file for split in variant.splits.values() for file in split)
    return (folder / variant.meta).is_file() and any((folder / file).is_file() for file in files)
