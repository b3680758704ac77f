"""The truth as scores must be right everywhere, whatever format it was read from.

What is true is told by the pixels of each picture alone, so a class that a reader gives to another picture shows.
"""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dinotune import config
from dinotune.data.formats import HOLDS, READERS, WRITERS, detect_format
from dinotune.data.formats.cifar.layout import CIFAR_10, CIFAR_100
from dinotune.data.images import read_image
from dinotune.data.records import Records
from dinotune.data.splits import read_records
from dinotune.tasks.base import Metrics
from dinotune.tasks.classification.best_classes import BestClasses
from dinotune.tasks.classification.metrics import measure
from dinotune.types import ClassScores
from tests.cifar_files import NAMES, PALETTE, write_cifar

PER_CLASS = {"train": 4, "val": 3, "test": 2}


def draw_folders(root: Path) -> Path:
    """An ImageFolder in the colours of the palette; numbers and sizes of the pictures say nothing of their classes."""
    generator = np.random.default_rng(0)
    for split, count in PER_CLASS.items():
        for name, number in zip(NAMES * count, generator.permutation(count * len(NAMES)), strict=True):
            folder = root / split / name
            folder.mkdir(parents=True, exist_ok=True)
            size = tuple(generator.integers(8, 40, 2).tolist())
            Image.new("RGB", size, PALETTE[name]).save(folder / f"{number}.png")
    return root


def written_as(kind: str) -> Callable[[Path], Path]:
    """The same as a format's writer has it."""

    def write(folder: Path) -> Path:
        data = config.Data(root=draw_folders(folder / "drawn"))
        splits = {split: read_records(data, split, seed=0) for split in PER_CLASS}
        WRITERS[kind](splits, folder / "own", "copy")
        return folder / "own"

    return write


def flat_with_lists(text: Callable[[str, str], str], name: str, head: str = "") -> Callable[[Path], Path]:
    """Folders to train; the pictures of the other splits in one folder each, with a list of their classes."""

    def write(folder: Path) -> Path:
        root = draw_folders(folder)
        for split in ("val", "test"):
            pictures = sorted((root / split).glob("*/*.png"), key=lambda path: path.stem)
            lines = [text(path.stem, path.parent.name) for path in pictures]
            for path in pictures:
                path.rename(root / split / path.name)
            for empty in (root / split / each for each in NAMES):
                empty.rmdir()
            (root / name.format(split)).write_text(head + "\n".join(lines) + "\n")
        return root

    return write


def index_of(name: str) -> int:
    return NAMES.index(name)


FORMS: dict[str, tuple[str, Callable[[Path], Path]]] = {
    **{kind: (kind, written_as(kind)) for kind in WRITERS if HOLDS[kind] == "classes"},
    "image_folder as drawn": ("image_folder", draw_folders),
    "ImageNet's val.txt": ("image_folder", flat_with_lists(lambda s, n: f"{s}.png {index_of(n)}", "{}.txt")),
    "Kaggle's ImageNet": (
        "image_folder",
        flat_with_lists(lambda s, n: f"{s},{n} 1 2 30 40", "LOC_{}_solution.csv", "ImageId,PredictionString\n"),
    ),
    "CIFAR-10": ("cifar", lambda folder: write_cifar(folder, CIFAR_10, per_file=45).parent),
    "CIFAR-100": ("cifar", lambda folder: write_cifar(folder, CIFAR_100, per_file=45).parent),
}


def seen(records: Records) -> list[str]:
    """The class that each picture shows by its middle."""
    named = {colour: name for name, colour in PALETTE.items()}
    pictures = [read_image(Path(path)) for path in records.paths.tolist()]
    return [named[picture.getpixel((picture.width // 2, picture.height // 2))] for picture in pictures]  # type: ignore[index]


def accuracy(records: Records, answers: list[str]) -> Metrics:
    """What sure answers, given by name, are worth."""
    sure = torch.eye(len(records.labels))[[records.labels.names.index(name) for name in answers]]
    best = BestClasses.from_scores(ClassScores(sure), records.image_ids.tolist())
    assert records.image_labels is not None
    return measure(records.image_labels, best.of(records.image_ids).labels, records.labels)


def test_every_format_of_classes_is_among_them() -> None:
    assert {kind for kind, _ in FORMS.values()} == {kind for kind in READERS if HOLDS[kind] == "classes"}


@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.parametrize("form", FORMS)
def test_truth_scores_one(tmp_path: Path, form: str, split: str) -> None:
    kind, write = FORMS[form]
    data = config.Data(root=write(tmp_path))
    assert data.root is not None
    assert detect_format(data.root) == kind
    labels = read_records(data, "train", seed=0).labels
    records = read_records(data, split, seed=0, labels=labels)
    truth = seen(records)
    assert set(truth) == set(NAMES)
    found = accuracy(records, truth)
    assert found.numbers == {"top1": 1.0, "top5": 1.0, "mean_class_accuracy": 1.0}
    others = [NAMES[(index_of(name) + 1) % len(NAMES)] for name in truth]
    assert accuracy(records, others)["top1"] == 0, "a wrong class must show"


def test_clothing_scores_one_by_the_names_of_its_folders(shared_data: Path, tmp_path: Path) -> None:
    """Real photographs, through a list with other names of files."""
    original = read_records(config.Data(root=shared_data / "clothing"), "val", seed=0)
    WRITERS["class_list"]({"val": original}, tmp_path, "none")
    with (tmp_path / "val.csv").open(encoding="utf-8") as file:
        assert len(list(csv.reader(file))) == len(original) + 1
    records = read_records(config.Data(root=tmp_path), "val", seed=0)
    for each in (original, records):
        found = accuracy(each, [Path(path).parent.name for path in each.paths.tolist()])
        assert (found["top1"], found["top5"], found.images) == (1.0, 1.0, 372)
