"""Large pictures in tiles: every object once, in the picture's own pixels, as its tile alone shows it."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from dinotune import api
from dinotune.errors import SettingsError
from dinotune.predictors.detection import DetectionPredictor
from dinotune.tasks.detection.tiles import tile_views
from dinotune.types import Detections

TILE = 64
OVERLAP = 0.25
SLOTS = 60

Box = tuple[int, int, int, int]


@pytest.fixture
def predictor(finished_run: Path) -> DetectionPredictor:
    loaded = api.load(finished_run, device="cpu")
    assert isinstance(loaded, DetectionPredictor)
    return loaded


@pytest.fixture
def seeing(predictor: DetectionPredictor, monkeypatch: pytest.MonkeyPatch) -> DetectionPredictor:
    """A predictor whose network finds bright rectangles without fail; yellow ones are of class 1."""

    def predict(images: torch.Tensor) -> Detections:
        parts = [find_rectangles(image.permute(1, 2, 0).numpy()) for image in images]
        boxes, scores, labels = (torch.stack(column) for column in zip(*parts, strict=True))
        return Detections(boxes, scores, labels)

    monkeypatch.setattr(predictor.model, "predict", predict)
    return predictor


def find_rectangles(image: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    bright = (image[..., 0] > 0.5).astype(np.uint8)
    count, components, stats, _ = cv2.connectedComponentsWithStats(bright, connectivity=8)
    boxes, scores, labels = torch.zeros(SLOTS, 4), torch.zeros(SLOTS), torch.full((SLOTS,), -1)
    for number in range(1, count):
        left, top, width, height = stats[number, :4]
        boxes[number - 1] = torch.tensor([left, top, left + width, top + height])
        # A small piece is as sure as the whole: the score must not tell them apart.
        scores[number - 1] = 0.6 + 0.3 * float(np.random.default_rng(int(left)).random())
        labels[number - 1] = int(image[components == number][:, 2].mean() < 0.5)
    return boxes, scores, labels


def draw(
    hw: tuple[int, int], sides: tuple[int, int], count: int, seed: int, apart: int = 2
) -> tuple[np.ndarray, list[tuple[Box, int]]]:
    """A black picture with rectangles that keep apart, and their boxes with classes."""
    generator = np.random.default_rng(seed)
    pixels, taken = np.zeros((*hw, 3), np.uint8), np.zeros(hw, np.bool_)
    truth: list[tuple[Box, int]] = []
    while len(truth) < count:
        width, height = generator.integers(*sides, size=2, endpoint=True).tolist()
        left, top = int(generator.integers(0, hw[1] - width + 1)), int(generator.integers(0, hw[0] - height + 1))
        around = slice(max(0, top - apart), top + height + apart), slice(max(0, left - apart), left + width + apart)
        if taken[around].any():
            continue
        taken[top : top + height, left : left + width] = True
        label = len(truth) % 2
        pixels[top : top + height, left : left + width] = (255, 255, 0 if label else 255)
        truth.append(((left, top, left + width, top + height), label))
    return pixels, sorted(truth)


def found(predictor: DetectionPredictor, picture: np.ndarray, *, whole: bool = False) -> list[tuple[Box, int]]:
    detections = predictor.predict(picture, 0.5, tiles=TILE, overlap=OVERLAP, whole=whole, batch_size=5)
    assert detections.class_id is not None
    boxes = [tuple(round(side) for side in box) for box in detections.xyxy.tolist()]
    return sorted(zip(boxes, detections.class_id.tolist(), strict=True))


@pytest.mark.parametrize("seed", range(6))
def test_objects_up_to_the_overlap_come_once_and_exactly(seeing: DetectionPredictor, seed: int) -> None:
    picture, truth = draw((230, 310), (3, int(TILE * OVERLAP)), 60, seed)
    assert found(seeing, picture) == truth


@pytest.mark.parametrize("seed", range(3))
def test_the_coarse_view_of_the_whole_picture_adds_nothing_to_them(seeing: DetectionPredictor, seed: int) -> None:
    picture, truth = draw((230, 310), (3, int(TILE * OVERLAP)), 20, seed, apart=10)
    assert found(seeing, picture, whole=True) == truth


@pytest.mark.parametrize("seed", range(6))
def test_objects_larger_than_the_overlap_come_once(seeing: DetectionPredictor, seed: int) -> None:
    """No tile need show them whole: pieces are united."""
    picture, truth = draw((230, 310), (20, 60), 8, seed)
    assert found(seeing, picture) == truth


def test_an_object_larger_than_a_tile(seeing: DetectionPredictor) -> None:
    picture = np.zeros((230, 310, 3), np.uint8)
    picture[40:140, 30:280] = 255
    assert found(seeing, picture) == [((30, 40, 280, 140), 0)]
    [(box, label)] = found(seeing, picture, whole=True)
    assert label == 0
    assert box == pytest.approx((30, 40, 280, 140), abs=4)  # the network's coarser view of the whole


def test_a_surer_view_of_a_small_object_in_the_whole_picture_does_not_count(
    predictor: DetectionPredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its network shape tells the whole picture from the tiles."""

    def predict(images: torch.Tensor) -> Detections:
        whole = images.shape[-2:] != (TILE, TILE)
        boxes = torch.tensor([10.0, 10, 20, 20]).repeat(len(images), 1, 1)
        scores = torch.full((len(images), 1), 0.9 if whole else 0.6)
        return Detections(boxes, scores, torch.zeros_like(scores, dtype=torch.int64))

    monkeypatch.setattr(predictor.model, "predict", predict)
    detections = predictor.predict(np.zeros((64, 320, 3), np.uint8), 0.5, tiles=TILE, overlap=0)
    assert detections.confidence is not None
    assert detections.confidence.tolist() == pytest.approx([0.6] * 5)


def test_away_from_borders_as_the_tile_alone(predictor: DetectionPredictor, shapes: Path) -> None:
    """A trained model's boxes that end before the tiles meet are those of the tile alone, and no others are there."""
    canvas = Image.new("RGB", (4 * TILE, TILE))
    for index, path in enumerate(sorted((shapes / "images" / "train").iterdir())[:4]):
        with Image.open(path) as image:
            canvas.paste(image.resize((TILE, TILE)), (index * TILE, 0))
    together = predictor.predict(canvas, 0, tiles=TILE, overlap=0, whole=False).xyxy
    compared = 0
    for left in range(0, 4 * TILE, TILE):
        alone = predictor.predict(canvas.crop((left, 0, left + TILE, TILE)), 0).xyxy + np.array([left, 0, left, 0])
        expected, merged = (away_from_sides(boxes, left) for boxes in (alone, together))
        assert merged == pytest.approx(expected, abs=1e-3)
        compared += len(expected)
    assert compared > 5


def away_from_sides(boxes: np.ndarray, left: int) -> np.ndarray:
    """Boxes inside a tile and not near its left and right border, unless the picture ends there too; sorted."""
    low, high = (left + 2 if left else -1), (left + TILE - 2 if left < 3 * TILE else np.inf)
    chosen = boxes[(boxes[:, 0] > low) & (boxes[:, 2] < high) & (boxes[:, 0] >= left)]
    ordered: np.ndarray = chosen[np.lexsort(chosen.T)]
    return ordered


def test_a_picture_no_larger_than_a_tile_is_predicted_whole(predictor: DetectionPredictor, shapes: Path) -> None:
    picture = min((shapes / "images" / "val").iterdir())
    plain, tiled = predictor.predict(picture, 0), predictor.predict(picture, 0, tiles=100)
    assert len(plain) > 0
    assert tiled.xyxy.tolist() == plain.xyxy.tolist()


def test_one_batch_of_tiles_at_a_time(seeing: DetectionPredictor, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    detect = seeing.model.predict

    def counted(images: torch.Tensor) -> Detections:
        sizes.append(len(images))
        result = detect(images)
        assert isinstance(result, Detections)
        return result

    monkeypatch.setattr(seeing.model, "predict", counted)
    found(seeing, np.zeros((230, 310, 3), np.uint8), whole=True)
    count = len(tile_views((230, 310), TILE, OVERLAP))
    assert count % 5 == 0
    assert sizes == [5] * (count // 5) + [1]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"tiles": 0}, "tiles: 0 is wrong; give integer >= 1 or none"),
        ({"tiles": 64, "overlap": 1.0}, "overlap: 1.0 is wrong; give number >= 0 and <= 0.9"),
        ({"batch_size": 0}, "batch_size: 0 is wrong; give integer >= 1"),
        ({"threshold": 1.5}, "threshold: 1.5 is wrong; give number >= 0 and <= 1 or none"),
    ],
)
def test_wrong_settings(predictor: DetectionPredictor, wrong: dict[str, int], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        predictor.predict(np.zeros((8, 8, 3), np.uint8), **wrong)  # type: ignore[call-overload]
