"""Tiny data sets to convert, with labels that every format of their kind can hold, and what is compared of them."""

from pathlib import Path

import numpy as np
from PIL import Image

from dinotune import cli, config
from dinotune.config.tasks import LabelKind
from dinotune.data import formats
from dinotune.data.needs import as_needed
from dinotune.data.problems import Findings
from dinotune.data.records import ImageRecord, LabelSet, Records
from dinotune.data.segments import encode_polygons
from dinotune.data.splits import find_places

HW = (40, 60)
CLASSES = LabelSet(("cat", "dog"), (1, 2))
SPLITS = {"train": 3, "val": 2}

Corners = tuple[int, int, int, int]


def rectangle(x1: int, y1: int, x2: int, y2: int) -> list[float]:
    """As x, y, x, y, …"""
    return [x1, y1, x2, y1, x2, y2, x1, y2]


def drawn_splits(folder: Path, labels: LabelSet = CLASSES) -> dict[str, Records]:
    """Splits of pictures with none, one, two ... rectangles apart from each other, each with its polygon."""
    splits = {}
    for split, count in SPLITS.items():
        images = []
        for number in range(count):
            boxes = [
                (2 + 19 * place, 3 + number, 16 + 19 * place, 30 + place) for place in range(number + (split == "val"))
            ]
            classes = [(number + place) % len(labels) for place in range(len(boxes))]
            images.append(_picture(folder / split / f"{number}.png", number + 1, boxes, classes))
        splits[split] = Records.from_images(split, labels, images)
    return splits


def _picture(path: Path, number: int, boxes: list[Corners], classes: list[int]) -> ImageRecord:
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(number)
    Image.fromarray(generator.integers(0, 256, (*HW, 3), np.uint8)).save(path)
    corners = np.array(boxes, np.float64).reshape(-1, 4)
    areas = (corners[:, 2:] - corners[:, :2]).prod(1)
    segments = tuple(encode_polygons([rectangle(*box)]) for box in boxes)
    crowd = np.zeros(len(boxes), np.bool_)
    return ImageRecord(path, number, *HW, corners, np.array(classes, np.int64), crowd, areas, segments=segments)


def class_map_of(image: ImageRecord) -> np.ndarray:
    """The class of each pixel as painted by hand: 0 is none, 1 the first class."""
    painted = np.zeros(HW, np.int64)
    for (x1, y1, x2, y2), label in zip(image.boxes.astype(int).tolist(), image.labels.tolist(), strict=True):
        painted[y1:y2, x1:x2] = label + 1
    return painted


def convert(source: Path, out: Path, to: str, *words: str) -> int:
    """The exit status of the command."""
    return cli.run(["convert", str(source), str(out), "--to", to, *words])


def read(root: Path, split: str, needs: LabelKind = "boxes") -> Records:
    """A whole split, which must be without a problem."""
    kind, places = find_places(config.Data(root=root), needs)
    records = as_needed(formats.READERS[kind](places[split], split, None, findings := Findings()), needs)
    assert (findings.problems, records.notes) == ([], ())
    return records


def files(root: Path) -> dict[str, bytes]:
    """Everything below a folder."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
