"""Label files of YOLO: `class cx cy w h` per object in shares of the picture, or `class x y x y x y ...` for a polygon.

https://docs.ultralytics.com/datasets/detect/ and https://docs.ultralytics.com/datasets/segment/.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dinotune.data.formats.base import clip_boxes
from dinotune.data.problems import Findings, Kind
from dinotune.data.segments import encode_polygons

ROUNDING = 0.002
"""By so much shares may leave 0 to 1 through rounding: a pixel of a picture of 500."""

PIXELS_FROM = 2.0
"""Values beyond are no shares that went wrong, but pixels."""

SHOWN = 60
"""Characters of a line that messages show."""


class Shape(NamedTuple):
    """One object of a label file, in shares of the picture."""

    line: int
    class_index: int
    """As written."""
    box: tuple[float, float, float, float]
    """Xyxy."""
    area: float | None
    """Of the polygon; none for a box."""
    polygon: tuple[float, ...] = ()
    """Its x, y, x, y, …"""


class Classes(NamedTuple):
    """What the class indices of label files mean."""

    names: Sequence[str]
    labels: Mapping[str, int]
    """Class in the wanted label set, by name."""
    keypoint_columns: int = 0
    """Columns of keypoints that follow each box."""


class LabelColumns(NamedTuple):
    """The objects of a label file."""

    boxes: np.ndarray
    """Xyxy pixels."""
    labels: np.ndarray
    areas: np.ndarray
    segments: tuple[str, ...]
    """Polygons in pixels as JSON text, empty for boxes."""


def read_label_file(file: Path, hw: tuple[int, int], classes: Classes, findings: Findings) -> LabelColumns | None:
    """The objects of a picture of height and width `hw`; none for a file that is no text.

    Lines that are wrong are left out and go into `findings`. The area of a polygon is its own, not that of its box.
    """
    shapes = _shapes(file, classes.keypoint_columns, findings)
    if shapes is None:
        return None
    labelled = [(shape, label) for shape in shapes if (label := _label(shape, file, classes, findings)) is not None]
    height, width = hw
    boxes = np.array([shape.box for shape, _ in labelled], np.float64).reshape(-1, 4) * (width, height, width, height)

    def note(row: int, kind: Kind, message: str) -> None:
        findings.add(kind, file, message, line=labelled[row][0].line)

    boxes, keep = clip_boxes(boxes, hw, note)
    own_areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    written = [(shape.area or 0) * width * height for shape, _ in labelled]
    areas = np.array([area or own for area, own in zip(written, own_areas, strict=True)], np.float64)
    labels = np.array([label for _, label in labelled], np.int64)
    polygons = [np.array(shape.polygon).reshape(-1, 2) * (width, height) for shape, _ in labelled]
    texts = [encode_polygons([points.reshape(-1).tolist()]) if len(points) else "" for points in polygons]
    segments = tuple(texts[row] for row in np.flatnonzero(keep).tolist())
    return LabelColumns(boxes[keep], labels[keep], areas[keep], segments)


def looks_like_labels(file: Path) -> bool:
    """Whether the first line that is not empty could be a label: numbers, at least five."""
    try:
        with file.open(encoding="utf-8-sig") as lines:
            columns = next((line.split() for line in lines if line.strip()), [])
        return len(columns) >= 5 and all(np.isfinite(float(column)) for column in columns)
    except (OSError, ValueError):
        return False


def largest_index(files: Sequence[Path]) -> int:
    """Largest class index in label files, -1 where there is none; what is no label does not count."""
    largest = -1
    for file in files:
        if looks_like_labels(file):
            shapes = _shapes(file, 0, Findings()) or []
            largest = max([largest, *(shape.class_index for shape in shapes)])
    return largest


def _shapes(file: Path, keypoint_columns: int, findings: Findings) -> list[Shape] | None:
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        findings.add(Kind.BROKEN_LABEL, file, f"not readable as UTF-8 text: {error}; save it as UTF-8")
        return None
    shapes: list[Shape] = []
    first: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        written = " ".join(line.split())
        if written in first:
            findings.add(Kind.REPEATED_LINE, file, f"the same as line {first[written]}", line=number)
        elif written:
            first[written] = number
            shape = _shape(written, number, keypoint_columns)
            if isinstance(shape, Shape):
                shapes.append(shape)
            else:
                kind, what = shape
                findings.add(kind, file, f"`{_short(written)}`: {what}", line=number)
    return shapes


def _shape(written: str, line: int, keypoint_columns: int) -> Shape | tuple[Kind, str]:
    """The object of one line, or what is wrong with it."""
    columns = written.split()
    if keypoint_columns and len(columns) == 5 + keypoint_columns:
        columns = columns[:5]
    if len(columns) != 5 and (len(columns) < 7 or len(columns) % 2 == 0):
        return Kind.LABEL_COLUMNS, _columns_message(len(columns))
    try:
        class_index, *values = (float(column) for column in columns)
    except ValueError:
        return Kind.MALFORMED_BOX, "not all of it is numbers"
    if not class_index.is_integer() or class_index < 0:
        return Kind.MALFORMED_CLASS, f"class {columns[0]} is none of 0, 1, 2, ..."
    wrong = _wrong_shares(values)
    if wrong is not None:
        return wrong
    if len(values) == 4:
        return Shape(line, int(class_index), _box(values), None)
    return Shape(line, int(class_index), *_polygon(values), tuple(values))


def _wrong_shares(values: Sequence[float]) -> tuple[Kind, str] | None:
    if not all(map(math.isfinite, values)):
        return Kind.MALFORMED_BOX, "not all of it is finite numbers"
    if max(map(abs, values)) > PIXELS_FROM:
        return Kind.PIXEL_LABEL, "looks like pixels; divide x and w by the picture's width, y and h by its height"
    if min(values) < -ROUNDING or max(values) > 1 + ROUNDING:
        return Kind.OUTSIDE_SHARE, "shares of the picture lie between 0 and 1"
    return None


def _box(values: Sequence[float]) -> tuple[float, float, float, float]:
    x, y, width, height = values
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _polygon(values: Sequence[float]) -> tuple[tuple[float, float, float, float], float]:
    """Box and area by the shoelace formula: half of |sum of x_i y_(i+1) - x_(i+1) y_i|."""
    x, y = np.array(values).reshape(-1, 2).T
    area = abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2
    return (float(x.min()), float(y.min()), float(x.max()), float(y.max())), area


def _columns_message(count: int) -> str:
    if count == 6:
        return "6 numbers: is this a prediction file with confidence? Drop the last number of each line"
    polygon = "class and at least three points x y for a polygon"
    return f"{count} columns, where 5 are due: class cx cy w h, or {polygon}; separated by spaces"


def _label(shape: Shape, file: Path, classes: Classes, findings: Findings) -> int | None:
    names = classes.names
    if shape.class_index >= len(names):
        message = f"class {shape.class_index}, but there are {len(names)} classes, 0 to {len(names) - 1}"
    elif names[shape.class_index] not in classes.labels:
        message = f'class {shape.class_index} "{names[shape.class_index]}" is not among the classes of the model'
    else:
        return classes.labels[names[shape.class_index]]
    findings.add(Kind.UNKNOWN_CLASS, file, message, line=shape.line)
    return None


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
