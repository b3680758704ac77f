"""Small Pascal VOC and YOLO data sets that are broken in one way each, and what the check must say about it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from dinotune.data.problems import Kind
from tests.data.broken_sets import draw
from tests.data.small_sets import VocObject, write_voc_set


class VocCase(NamedTuple):
    """One way for a Pascal VOC folder to be broken: a change of what `write_voc_set` wrote, and what is said."""

    kind: Kind
    change: Callable[[Path], object]
    file: str
    marker: str | None
    message: str


def _replaced(file: str, old: str, new: str) -> Callable[[Path], object]:
    def change(root: Path) -> None:
        path = root / "Annotations" / file
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    return change


VOC: dict[str, VocCase] = {
    "broken XML": VocCase(
        Kind.BROKEN_XML, _replaced("b.xml", "</size>", "</siz>"), "b.xml", "</siz>", "not readable as XML: mismatched tag"
    ),
    "missing XML": VocCase(
        Kind.MISSING_XML, lambda r: (r / "Annotations/c.xml").unlink(), "Main/train.txt", "c", "there is no "
    ),
    "missing picture": VocCase(
        Kind.MISSING_PICTURE, lambda r: (r / "JPEGImages/d.jpg").unlink(), "d.xml", None, "no picture d.* in"
    ),
    "no bndbox": VocCase(
        Kind.MISSING_BOX, _replaced("e.xml", "bndbox", "box"), "e.xml", "<object>", "no `bndbox`"
    ),
    "no number": VocCase(
        Kind.MALFORMED_BOX, _replaced("f.xml", "<xmin>2<", "<xmin>left<"), "f.xml", "left", "xmin 'left'"
    ),
    "no name": VocCase(
        Kind.UNKNOWN_CLASS, _replaced("g.xml", "<name>cat</name>", ""), "g.xml", "<object>", "without a name"
    ),
    "same stem": VocCase(
        Kind.CLASHING_STEMS, lambda r: draw(r / "JPEGImages/h.png", 8), "h.xml", None, "h.jpg, h.png in"
    ),
    "orphan": VocCase(
        Kind.ORPHAN_ANNOTATION, lambda r: (r / "Annotations/z.xml").write_text("<annotation/>"), "z.xml", None, "no listing"
    ),
    "listed twice": VocCase(
        Kind.REPEATED_NAME, lambda r: (r / "ImageSets/Main/val.txt").write_text("v\n v\n"), "Main/val.txt", " v", "line 1 too"
    ),
}  # fmt: skip


def write_voc(root: Path) -> None:
    """Nine training pictures and one for validation, a cat on each."""
    cat: VocObject = ("cat", (2, 3, 30, 34))
    write_voc_set(root, {stem: [cat] for stem in "abcdefghiv"}, {"train": list("abcdefghi"), "val": ["v"]})
    for number, path in enumerate(sorted((root / "JPEGImages").iterdir())):
        draw(path, number)


def write_yolo(root: Path, lines: Mapping[str, str]) -> None:
    """A YOLO folder; `lines` has the label file of each training picture."""
    for split, stems in (("train", list(lines)), ("val", ["v"])):
        for number, stem in enumerate(stems):
            draw(root / "images" / split / f"{stem}.png", number + 100 * (split == "val"))
            (root / "labels" / split).mkdir(parents=True, exist_ok=True)
            (root / "labels" / split / f"{stem}.txt").write_text(lines.get(stem, "0 0.5 0.5 0.4 0.6\n"))
    (root / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [mug, dog]\n")


YOLO = {
    Kind.LABEL_COLUMNS: "0 0.5 0.5 0.4",
    Kind.MALFORMED_BOX: "0 0.5 0.5 0.4 wide",
    Kind.MALFORMED_CLASS: "0.5 0.5 0.5 0.4 0.6",
    Kind.PIXEL_LABEL: "0 30 20 24 24",
    Kind.OUTSIDE_SHARE: "0 1.5 0.5 0.4 0.6",
    Kind.REPEATED_LINE: "0 0.5 0.5 0.4 0.6",
    Kind.UNKNOWN_CLASS: "7 0.5 0.5 0.4 0.6",
}
"""A second line of a label file, after a good one, by what is wrong with it."""
