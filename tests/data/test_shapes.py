"""The drawn data set: the same bytes for one seed, tight boxes, classes that only the outline tells."""

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dinotune.data import shape_pictures
from dinotune.data.shape_pictures import MIN_VISIBLE, SHAPE_CLASSES, draw_shape_picture, polygon_area
from dinotune.data.shapes import draw_shapes, run_lengths
from dinotune.errors import DataError


def digest(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_shapes(tmp_path_factory.mktemp("drawn") / "shapes", train=70, val=6, test=4)


inside_pycocotools = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)
"""Its decoder's arrays predate numpy 2."""


def truth_of(folder: Path, split: str) -> dict[str, Any]:
    truth: dict[str, Any] = json.loads((folder / "annotations" / f"instances_{split}.json").read_text())
    return truth


def test_one_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    np.random.seed(3)  # the global state must neither matter nor change
    expected_next = np.random.RandomState(3).random()
    first = digest(draw_shapes(tmp_path / "first", train=5, val=3, test=2))
    assert np.random.random() == expected_next
    assert digest(draw_shapes(tmp_path / "second", train=5, val=3, test=2)) == first
    assert len(first) == 5 + 3 + 2 + 3 + 1
    other = digest(draw_shapes(tmp_path / "other", seed=1, train=5, val=3, test=2))
    assert all(other[name] != first[name] for name in first)


def test_a_picture_does_not_depend_on_how_many_are_drawn(drawn: Path, tmp_path: Path) -> None:
    few, many = digest(draw_shapes(tmp_path / "few", train=2, val=1, test=0)), digest(drawn)
    pictures = [name for name in few if name.endswith(".png")]
    assert len(pictures) == 3
    assert all(few[name] == many[name] for name in pictures)


def test_contents(drawn: Path) -> None:
    truth = truth_of(drawn, "train")
    assert [(entry["id"], entry["name"]) for entry in truth["categories"]] == [
        (1, "disc"),
        (2, "square"),
        (3, "triangle"),
    ]
    assert {(entry["height"], entry["width"]) for entry in truth["images"]} == {(128, 128), (128, 160), (160, 128)}
    for entry in truth["images"]:
        with Image.open(drawn / "images/train" / entry["file_name"]) as picture:
            assert picture.size == (entry["width"], entry["height"])
    per_image = [sum(a["image_id"] == entry["id"] for a in truth["annotations"]) for entry in truth["images"]]
    assert max(per_image) <= 6
    assert 0.02 < per_image.count(0) / len(per_image) < 0.2
    labels = [a["category_id"] for a in truth["annotations"]]
    assert all(labels.count(category) > 0.22 * len(labels) for category in (1, 2, 3))
    longest = [max(a["bbox"][2:]) for a in truth["annotations"]]
    assert min(longest) >= 18
    assert max(longest) <= 72
    assert 30 < np.median(longest) < 50


def test_no_two_splits_share_an_image_id(drawn: Path) -> None:
    ids = [entry["id"] for split in ("train", "val", "test") for entry in truth_of(drawn, split)["images"]]
    assert len(set(ids)) == len(ids) == 80


@inside_pycocotools
def test_boxes_and_areas_belong_to_the_masks_as_pycocotools_reads_them(drawn: Path) -> None:
    from pycocotools.coco import COCO

    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        coco = COCO(str(drawn / "annotations/instances_val.json"))
    annotations = list(coco.anns.values())
    assert len(annotations) > 5
    for annotation in annotations:
        mask = coco.annToMask(annotation)
        ys, xs = np.nonzero(mask)
        x, y, width, height = annotation["bbox"]
        assert (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) == (x, y, x + width, y + height)
        assert mask.sum() == annotation["area"]


def test_truth_is_what_remains_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects painted in flat colours of their own: what shows of each is its mask, and enough of it shows."""
    outlines: list[np.ndarray] = []

    def paint_number(_rng: object, canvas: np.ndarray, corners: np.ndarray, cover: np.ndarray) -> None:
        outlines.append(corners)
        canvas[cover >= 0.5] = len(outlines)

    monkeypatch.setattr(shape_pictures, "paint", paint_number)
    monkeypatch.setattr(shape_pictures, "draw_clutter", lambda _rng, size_hw: np.zeros((*size_hw, 3)))
    overlapped = 0
    for seed in range(30):
        outlines.clear()
        picture = draw_shape_picture(np.random.default_rng(seed), (128, 160))
        assert len(outlines) == len(picture.labels)
        for row, corners in enumerate(outlines):
            shown = picture.image[..., 0] == row + 1
            np.testing.assert_array_equal(shown, picture.masks[row])
            assert shown.sum() >= (MIN_VISIBLE - 0.02) * polygon_area(corners)
            overlapped += int(shown.sum() < 0.9 * polygon_area(corners))
    assert overlapped > 3


def test_box_of_a_free_shape_is_the_extent_of_its_outline_and_its_paint(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a pixel: half-covered edge pixels belong to a mask or not."""
    monkeypatch.setattr(shape_pictures, "OBJECT_COUNT_SHARES", (0, 1))
    monkeypatch.setattr(shape_pictures, "MIN_INSIDE", 0.999)
    monkeypatch.setattr(shape_pictures, "draw_clutter", lambda _rng, size_hw: np.full((*size_hw, 3), 128.0))
    outlines: list[np.ndarray] = []
    paint = shape_pictures.paint

    def remember(*arguments: Any) -> None:
        outlines.append(arguments[2])
        paint(*arguments)

    monkeypatch.setattr(shape_pictures, "paint", remember)
    for seed in range(20):
        picture = draw_shape_picture(np.random.default_rng(seed), (128, 128))
        extent = np.clip([*outlines[-1].min(axis=0), *outlines[-1].max(axis=0)], 0, 128)
        ys, xs = np.nonzero((picture.image != 128).any(axis=2))
        painted = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        np.testing.assert_allclose(picture.boxes[0], extent, atol=1)
        np.testing.assert_allclose(picture.boxes[0], painted, atol=1)


def test_colour_alone_does_not_tell_the_class() -> None:
    colours, labels = [], []
    for seed in range(120):
        picture = draw_shape_picture(np.random.default_rng([9, seed]), (128, 128))
        colours.extend([picture.image[mask].mean(axis=0) for mask in picture.masks])
        labels.extend(picture.labels.tolist())
    colour, label = np.array(colours), np.array(labels)
    distance = np.linalg.norm(colour[:, None] - colour[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    nearest_agrees = (label[distance.argmin(axis=1)] == label).mean()
    assert nearest_agrees < 0.45  # chance is 1/3
    assert len(SHAPE_CLASSES) == 3


@inside_pycocotools
@pytest.mark.parametrize("mask", [[[0, 1], [1, 1]], [[1, 0], [0, 0]], [[0, 0], [0, 0]], [[1, 1], [1, 1]]])
def test_run_lengths_as_pycocotools_decodes_them(mask: list[list[int]]) -> None:
    from pycocotools import mask as mask_tools

    lengths = run_lengths(np.array(mask, np.bool_))
    encoded = mask_tools.frPyObjects({"size": [2, 2], "counts": lengths}, 2, 2)
    np.testing.assert_array_equal(mask_tools.decode(encoded), mask)


def test_a_complete_folder_is_reused_and_an_empty_one_is_filled(tmp_path: Path) -> None:
    folder = tmp_path / "shapes"
    folder.mkdir()
    assert draw_shapes(folder, train=2, val=1, test=0) == folder
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.png")}
    draw_shapes(folder, train=2, val=1, test=0)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.png")} == before
    assert len(before) == 3


def test_what_an_interrupted_run_left_is_swept(tmp_path: Path) -> None:
    leftover = tmp_path / ".shapes.unfinished" / "images" / "train"
    leftover.mkdir(parents=True)
    (leftover / "stray.png").touch()
    draw_shapes(tmp_path / "shapes", train=2, val=1, test=0)
    assert [path.name for path in tmp_path.iterdir()] == ["shapes"]
    assert len(list((tmp_path / "shapes" / "images" / "train").iterdir())) == 2


@pytest.mark.parametrize(
    ("spoil", "seed", "message"),
    [
        (lambda folder: (folder / "shapes.json").unlink(), 0, "not drawn by this tool"),
        (lambda _: None, 1, "another seed"),
        (lambda folder: next(folder.rglob("*.png")).unlink(), 0, "damaged: 1 of 2 pictures in images/train"),
        (lambda folder: (folder / "annotations/instances_train.json").unlink(), 0, "damaged"),
    ],
)
def test_anything_else_is_refused_and_left_alone(tmp_path: Path, spoil: Any, seed: int, message: str) -> None:
    folder = draw_shapes(tmp_path / "shapes", train=2, val=0, test=0)
    spoil(folder)
    before = digest(folder)
    with pytest.raises(DataError, match=message) as error:
        draw_shapes(folder, seed=seed, train=2, val=0, test=0)
    assert "name another folder" in str(error.value)
    assert digest(folder) == before


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "shapes").touch()
    with pytest.raises(DataError, match="is a file"):
        draw_shapes(tmp_path / "shapes")


@pytest.mark.parametrize(
    ("index", "size_hw", "labels", "boxes", "brightness"),
    [
        (1, (160, 128), [], [], 94.08),
        (2, (128, 128), [1, 0, 2], [[37, 18, 67, 55], [64, 22, 105, 63], [22, 94, 50, 125]], 116.67),
        (5, (160, 128), [1, 1], [[26, 0, 60, 32], [94, 15, 127, 48]], 104.46),
    ],
)
def test_seed_0_stays_as_it_is(
    drawn: Path, index: int, size_hw: tuple[int, int], labels: list[int], boxes: list[list[int]], brightness: float
) -> None:
    """Published quickstart scores depend on these pictures: do not adjust the numbers, restore the generator."""
    truth = truth_of(drawn, "train")
    entry = truth["images"][index]
    assert (entry["height"], entry["width"]) == size_hw
    annotations = [a for a in truth["annotations"] if a["image_id"] == entry["id"]]
    assert [a["category_id"] - 1 for a in annotations] == labels
    assert [[x, y, x + w, y + h] for x, y, w, h in (a["bbox"] for a in annotations)] == boxes
    with Image.open(drawn / "images/train" / entry["file_name"]) as picture:
        assert np.asarray(picture).mean() == pytest.approx(brightness, abs=0.02)
