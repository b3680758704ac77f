"""Small COCO data sets that are broken in one way each, and what the check must say about it."""

import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import ExifTags, Image

from dinotune.data.problems import Kind

HEIGHT, WIDTH = 40, 60

Entry = dict[str, Any]


def draw(path: Path, seed: int, mode: str = "RGB", hw: tuple[int, int] = (HEIGHT, WIDTH), **options: Any) -> Path:
    """Noise, so that no two pictures have the same content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (*hw, 3), np.uint8)
    Image.fromarray(noise).convert(mode).save(path, **options)
    return path


@dataclass
class CocoSet:
    """A COCO data set in the making: pictures with two good boxes each, and one entry per line of its files."""

    root: Path
    pictures: dict[str, list[Entry]] = field(default_factory=lambda: {"train": [], "val": []})
    boxes: dict[str, list[Any]] = field(default_factory=lambda: {"train": [], "val": []})
    categories: list[Entry] = field(default_factory=lambda: [{"id": 90, "name": "mug"}, {"id": 18, "name": "dog"}])

    def __post_init__(self) -> None:
        for number in range(4):
            self.add(f"good{number}.png")
        self.add("val0.png", split="val")

    def add(self, name: str, split: str = "train", *, hw: tuple[int, int] = (HEIGHT, WIDTH), **options: Any) -> Path:
        """One more picture; the file's path."""
        number = sum(len(pictures) for pictures in self.pictures.values()) + 1
        self.pictures[split].append({"id": number, "file_name": name, "height": HEIGHT, "width": WIDTH})
        for category, x in ((90, 5.0), (18, 30.0)):
            self.box(name, [x, 6, 24.0, 26.0], split, category_id=category)
        return draw(self.root / "images" / split / name, number, hw=hw, **options)

    def box(self, name: str, bbox: Any, split: str = "train", **changes: Any) -> int:
        """One more box of a picture; its id."""
        image_id = next(picture["id"] for picture in self.pictures[split] if picture["file_name"] == name)
        number = 5000 + sum(len(boxes) for boxes in self.boxes.values())
        self.boxes[split].append({"id": number, "image_id": image_id, "category_id": 90, "bbox": bbox} | changes)
        return number

    def spoilt(self, name: str, bbox: Any, **changes: Any) -> None:
        """One more picture with one more box, named by `note`."""
        self.add(f"{name}.png")
        self.box(f"{name}.png", bbox, note=name, **changes)

    def write(self) -> None:
        """Write both annotation files."""
        for split in ("train", "val"):
            path = self.root / "annotations" / f"instances_{split}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            lists = {"images": self.pictures[split], "categories": self.categories, "annotations": self.boxes[split]}
            blocks = [f'"{key}": [\n' + ",\n".join(map(json.dumps, entries)) + "\n]" for key, entries in lists.items()]
            path.write_text("{" + ",\n".join(blocks) + "}\n")


class Case(NamedTuple):
    """One way to be broken."""

    kind: Kind
    build: Callable[[CocoSet], None]
    file: str
    """Part of the path of the file that must be named."""
    marker: str | None
    """Text that stands in the file's one line that must be named; none where no line is named."""
    message: str


def _picture(content: bytes, name: str) -> Callable[[CocoSet], None]:
    def build(data: CocoSet) -> None:
        data.add(name, format="PNG").write_bytes(content)

    return build


def _entry(name: str, **changes: Any) -> Callable[[CocoSet], None]:
    def build(data: CocoSet) -> None:
        data.add(f"{name}.png")
        data.pictures["train"][-1].update(changes)
        del data.boxes["train"][-2:]

    return build


def _spoilt(name: str, bbox: Any, **changes: Any) -> Callable[[CocoSet], None]:
    return lambda data: data.spoilt(name, bbox, **changes)


def _saved(name: str, **options: Any) -> Callable[[CocoSet], None]:
    def build(data: CocoSet) -> None:
        data.add(name, **options)

    return build


def _truncated(data: CocoSet) -> None:
    path = data.add("truncated.jpg")
    path.write_bytes(path.read_bytes()[:-400])


def _missing(data: CocoSet) -> None:
    data.add("missing.png").unlink()


def _gif(data: CocoSet) -> None:
    data.add("placeholder.jpg", format="GIF")


def _turned(data: CocoSet) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    data.add("turned.jpg", exif=exif)


def _bomb(data: CocoSet) -> None:
    """A PNG whose header claims 30,000 x 30,000 pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    signature = b"\x89PNG\r\n\x1a\n"
    data.add("bomb.png").write_bytes(signature + chunk(b"IHDR", header) + chunk(b"IEND", b""))


def _two_ids(data: CocoSet) -> None:
    data.add("twin.png")
    data.add("other.png")
    data.pictures["train"][-1] |= {"id": data.pictures["train"][-2]["id"], "note": "two ids"}
    del data.boxes["train"][-2:]


def _two_entries(data: CocoSet) -> None:
    data.add("listed.png")
    data.pictures["train"].append(data.pictures["train"][-1] | {"id": 7001, "note": "listed again"})


def _same_annotation_id(data: CocoSet) -> None:
    data.add("ids.png")
    data.boxes["train"][-1] |= {"id": data.boxes["train"][-2]["id"], "note": "same id"}


def _not_an_object(data: CocoSet) -> None:
    data.boxes["train"].append("no object at all")


def _in_two_splits(data: CocoSet) -> None:
    path = data.add("leak.png")
    data.add("leaked.png", "val").write_bytes(path.read_bytes())


def _twice(data: CocoSet) -> None:
    path = data.add("first.png")
    data.add("copy.png").write_bytes(path.read_bytes())


def _orphan(data: CocoSet) -> None:
    draw(data.root / "images" / "train" / "orphan.png", 999)


def _unused_class(data: CocoSet) -> None:
    data.categories.append({"id": 95, "name": "unicorn"})


def _untrained_class(data: CocoSet) -> None:
    data.categories.append({"id": 96, "name": "kraken"})
    data.box("val0.png", [1, 1, 20, 20], "val", category_id=96)


def _rare_class(data: CocoSet) -> None:
    data.categories.append({"id": 97, "name": "yeti"})
    for number in range(100):
        data.box(f"good{number % 4}.png", [10 + 0.1 * number, 10, 20, 20])
    data.box("good0.png", [1, 1, 20, 20], category_id=97)


TRAIN, VAL = "annotations/instances_train.json", "annotations/instances_val.json"

TOGETHER = {
    "missing picture": Case(Kind.MISSING_PICTURE, _missing, TRAIN, "missing.png", "missing.png does not exist"),
    "truncated picture": Case(Kind.UNREADABLE_PICTURE, _truncated, "train/truncated.jpg", None, "broken: "),
    "zero bytes": Case(Kind.EMPTY_FILE, _picture(b"", "nothing.png"), "train/nothing.png", None, "0 bytes"),
    "text as picture": Case(Kind.NOT_A_PICTURE, _picture(b"words", "text.png"), "train/text.png", None, "b'words'"),
    "web page": Case(
        Kind.NOT_A_PICTURE, _picture(b"<!DOCTYPE html><p>404", "page.png"), "page.png", None, "web page (HTML)"
    ),
    "GIF placeholder": Case(Kind.OTHER_FORMAT, _gif, "train/placeholder.jpg", None, "GIF inside a file that is named"),
    "other size": Case(
        Kind.WRONG_SIZE, _saved("small.png", hw=(20, 30)), "small.png", None, "30 x 20 pixels, but annotated as 60 x 40"
    ),
    "bomb": Case(Kind.HUGE_PICTURE, _bomb, "train/bomb.png", None, "900000000 pixels"),
    "EXIF": Case(Kind.ROTATED_PICTURE, _turned, "train/turned.jpg", None, "orientation 6 does not fit: annotated as 60"),
    "CMYK": Case(Kind.OTHER_COLOURS, _saved("print.jpg", mode="CMYK"), "train/print.jpg", None, "CMYK"),
    "16 bits": Case(Kind.OTHER_COLOURS, _saved("deep.png", mode="I;16"), "train/deep.png", None, "I;16"),
    "alpha": Case(Kind.OTHER_COLOURS, _saved("clear.png", mode="RGBA"), "train/clear.png", None, "laid on white"),
    "picture id": Case(Kind.MALFORMED_PICTURE, _entry("noid", id="x", note="noid"), TRAIN, '"noid"', "integer `id`"),
    "picture size": Case(
        Kind.MALFORMED_PICTURE, _entry("wide", width="60 px", note="wide"), TRAIN, '"wide"', "'60 px' is not a number"
    ),
    "two pictures, one id": Case(Kind.REPEATED_PICTURE_ID, _two_ids, TRAIN, '"two ids"', "belongs to twin.png already"),
    "one file, two ids": Case(Kind.REPEATED_FILE, _two_entries, TRAIN, '"listed again"', "listed.png is picture"),
    "unknown picture": Case(
        Kind.UNKNOWN_PICTURE_ID, _spoilt("nopic", [1, 1, 9, 9], image_id=4242), TRAIN, '"nopic"', "image_id 4242"
    ),
    "unknown category": Case(
        Kind.UNKNOWN_CLASS, _spoilt("nocat", [1, 1, 9, 9], category_id=1), TRAIN, '"nocat"', "category_id 1"
    ),
    "annotation id": Case(Kind.REPEATED_ANNOTATION_ID, _same_annotation_id, TRAIN, '"same id"', "an earlier"),
    "no object": Case(Kind.MALFORMED_ENTRY, _not_an_object, TRAIN, "no object at all", "is not an object"),
    "no box": Case(Kind.MISSING_BOX, _spoilt("nobox", None), TRAIN, '"nobox"', "no `bbox`"),
    "three numbers": Case(Kind.MALFORMED_BOX, _spoilt("three", [1, 2, 3]), TRAIN, '"three"', "[1, 2, 3] is not [x, y"),
    "NaN": Case(Kind.MALFORMED_BOX, _spoilt("nan", [1, 2, float("nan"), 4]), TRAIN, '"nan"', "nan, 4] is not"),
    "strings": Case(Kind.MALFORMED_BOX, _spoilt("letters", ["1", "2", "3", "4"]), TRAIN, '"letters"', "'4'] is not"),
    "negative width": Case(
        Kind.NEGATIVE_BOX, _spoilt("minus", [20, 5, -9, 9]), TRAIN, '"minus"', "from (20, 5) to (11, 14)"
    ),
    "no area": Case(Kind.EMPTY_BOX, _spoilt("flat", [5, 5, 0, 9]), TRAIN, '"flat"', "from (5, 5) to (5, 14)"),
    "outside": Case(Kind.OUTSIDE_BOX, _spoilt("out", [70, 5, 9, 9]), TRAIN, '"out"', "in a picture of 60 x 40"),
    "overhang": Case(Kind.CLIPPED_BOX, _spoilt("over", [50, 5, 20, 9]), TRAIN, '"over"', "to (70, 14)"),
    "same box twice": Case(Kind.DUPLICATE_BOX, _spoilt("again", [5, 6, 24, 26]), TRAIN, '"again"', "is there already"),
    "area": Case(Kind.MALFORMED_AREA, _spoilt("vast", [1, 1, 9, 9], area="big"), TRAIN, '"vast"', "area 'big' is not"),
    "leak": Case(Kind.SHARED_PICTURE, _in_two_splits, "val/leaked.png", None, "train/leak.png in train"),
    "copy": Case(Kind.REPEATED_PICTURE, _twice, "train/copy.png", None, "train/first.png"),
    "orphan": Case(Kind.ORPHAN_PICTURE, _orphan, "train/orphan.png", None, "no usable annotation"),
    "unused class": Case(Kind.UNUSED_CLASS, _unused_class, TRAIN, None, "no boxes in train, val: unicorn"),
    "untrained class": Case(Kind.UNTRAINED_CLASS, _untrained_class, VAL, None, "val has boxes of kraken; train has none"),
    "rare class": Case(Kind.RARE_CLASS, _rare_class, TRAIN, None, "50 times fewer or less of yeti (1)"),
    "tiny object": Case(
        Kind.SMALL_OBJECTS, _spoilt("speck", [8, 8, 0.9, 0.9]), TRAIN, None, "data.size=720 makes 90% of them as large"
    ),
}  # fmt: skip
"""Ways that one folder can hold together."""


def _corners(data: CocoSet) -> None:
    for box in data.boxes["train"]:
        x, y, width, height = box["bbox"]
        box["bbox"] = [x, y, x + width, y + height]


def _shares(data: CocoSet) -> None:
    for box in data.boxes["train"]:
        x, y, width, height = box["bbox"]
        box["bbox"] = [x / WIDTH, y / HEIGHT, width / WIDTH, height / HEIGHT]


def _no_boxes(data: CocoSet) -> None:
    data.boxes["val"].clear()


def _no_pictures(data: CocoSet) -> None:
    data.pictures["val"].clear()
    data.boxes["val"].clear()


def _broken_json(data: CocoSet) -> None:
    data.write()
    path = data.root / VAL
    path.write_text(path.read_text().replace('"categories": [', '"categories": oops ['))


def _all_missing(data: CocoSet) -> None:
    (data.root / "images/val/val0.png").unlink()


ALONE = {
    "corners in COCO": Case(Kind.CORNERS_AS_SIDES, _corners, TRAIN, None, "but fit as x1, y1, x2, y2; write x2 - x1"),
    "shares in COCO": Case(Kind.SHARES_AS_PIXELS, _shares, TRAIN, None, "multiply x and width by the picture's width"),
    "split without boxes": Case(Kind.NO_LABELS, _no_boxes, VAL, None, "val: 1 pictures, but no box"),
    "empty split": Case(Kind.UNUSABLE_SPLIT, _no_pictures, VAL, None, "no pictures; an empty split"),
    "broken JSON": Case(Kind.BROKEN_JSON, _broken_json, VAL, "oops", "not readable as JSON: Expecting value"),
    "wrong folder": Case(Kind.MISSING_PICTURE, _all_missing, VAL, None, "none of its 1 pictures exists (val0.png)"),
}
"""Ways that spoil a file, a split or all of its boxes."""


def line_of(file: Path, marker: str) -> int:
    """1-based number of the first line that holds the marker."""
    lines = file.read_text().splitlines()
    return next(number for number, line in enumerate(lines, start=1) if marker in line)
