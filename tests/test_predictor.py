"""Pictures of every form in, detections in the picture's own pixels out."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision as sv
import torch
from PIL import Image

from dinotune import api
from dinotune.checkpoints import load_model
from dinotune.data.any_picture import to_pil
from dinotune.errors import DataError, DinotuneError, SettingsError
from dinotune.predictors.detection import DetectionPredictor
from dinotune.types import Detections
from tests.training.small_runs import changed


@pytest.fixture(scope="module")
def predictor(finished_run: Path) -> DetectionPredictor:
    loaded = api.load(finished_run, device="cpu")
    assert isinstance(loaded, DetectionPredictor)
    return loaded


@pytest.fixture(scope="module")
def picture(shapes: Path) -> Path:
    return min((shapes / "images" / "val").iterdir())


def same(first: sv.Detections, second: sv.Detections) -> bool:
    assert len(first) > 0
    return rows(first) == rows(second)


def rows(found: sv.Detections) -> list[tuple[list[float], float, int, str]]:
    """Box, score, label and class name of each detection."""
    assert found.confidence is not None
    assert found.class_id is not None
    columns = (found.xyxy, found.confidence, found.class_id, found.data["class_name"])
    return [
        (box.tolist(), float(score), int(label), str(name)) for box, score, label, name in zip(*columns, strict=True)
    ]


def rgb(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def chw(path: Path) -> torch.Tensor:
    return torch.from_numpy(rgb(path).copy()).permute(2, 0, 1)


FORMS: dict[str, Callable[[Path], Any]] = {
    "text": str,
    "PIL": Image.open,
    "array": rgb,
    "array not in one piece": lambda path: np.flip(np.flip(rgb(path), 1).copy(), 1),
    "RGBA array": lambda path: np.dstack([rgb(path), np.full(rgb(path).shape[:2], 255, np.uint8)]),
    "tensor": chw,
    "float tensor": lambda path: chw(path) / 255,
    "double tensor": lambda path: chw(path).double() / 255,
    "half tensor": lambda path: (chw(path) / 255).half(),
    "tensor with gradient": lambda path: (chw(path) / 255).requires_grad_(),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form_of_a_picture_is_the_same_picture(
    predictor: DetectionPredictor, picture: Path, form: Callable[[Path], Any]
) -> None:
    assert same(predictor.predict(form(picture), threshold=0), predictor.predict(picture, threshold=0))


def test_a_predictor_says_what_it_is(predictor: DetectionPredictor) -> None:
    assert repr(predictor) == f"Predictor(faster_rcnn on tiny-dinov3, {len(predictor.labels)} classes, cpu)"


def test_lists_give_lists(predictor: DetectionPredictor, picture: Path, shapes: Path) -> None:
    other = min((shapes / "images" / "test").iterdir())
    one, two = predictor.predict(picture, 0), predictor.predict(other, 0)
    assert not same(one, two)
    for found in (predictor.predict([picture, chw(other)], 0), predictor.predict((rgb(picture), str(other)), 0)):
        assert isinstance(found, list)
        assert [same(found[0], one), same(found[1], two)] == [True, True]
    assert predictor.predict([]) == []


def test_grey_arrays(picture: Path) -> None:
    grey = np.asarray(Image.open(picture).convert("L"))
    assert np.array_equal(np.asarray(to_pil(grey)), np.dstack([grey] * 3))


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "I;16", "CMYK"])
def test_pil_pictures_are_read_like_their_files(tmp_path: Path, mode: str) -> None:
    """Plain `convert("RGB")` shows hidden colours below transparency and turns 16 bits white."""
    generator = np.random.default_rng(0)
    image = Image.fromarray(generator.integers(0, 256, (20, 30, 3), np.uint8))
    if mode == "I;16":
        image = Image.fromarray(generator.integers(0, 60_000, (20, 30)).astype(np.uint16))
    elif mode.endswith("A"):
        image.putalpha(Image.fromarray(generator.integers(0, 256, (20, 30), np.uint8)))
    image = image.convert(mode)
    path = tmp_path / ("picture.tif" if mode == "CMYK" else "picture.png")
    image.save(path)
    assert np.array_equal(np.asarray(to_pil(image)), np.asarray(to_pil(path)))
    assert np.asarray(to_pil(image)).std() > 20


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.zeros((8, 8, 2), np.uint8), r"array of shape \[8, 8, 2\]; give \[height, width\] \(grey\), .*\(RGB\)"),
        (np.zeros((3, 8, 8), np.uint8), r"array of shape \[3, 8, 8\]; give"),
        (np.zeros((1, 8, 8, 3), np.uint8), r"array of shape \[1, 8, 8, 3\]; give .* or a list of them"),
        (np.zeros((0, 8, 3), np.uint8), r"array of shape \[0, 8, 3\]; give"),
        (np.zeros((8, 8, 3)), r"array of type float64; give uint8 in 0\.\.255"),
        (np.zeros((8, 8), np.uint16), r"array of type uint16; give uint8"),
        (torch.zeros(8, 8, 3, dtype=torch.uint8), r"tensor of shape \[8, 8, 3\]; give \[3, height, width\]"),
        (torch.zeros(2, 3, 8, 8), r"tensor of shape \[2, 3, 8, 8\]; give .* or a list of them"),
        (torch.zeros(3, 0, 8), r"tensor of shape \[3, 0, 8\]"),
        (torch.full((3, 8, 8), 255.0), r"tensor with values from 255 to 255; give RGB in \[0, 1\]"),
        (torch.full((3, 8, 8), -2.1), r"tensor with values from -2.1 to -2.1; .*not normalised"),
        (torch.full((3, 8, 8), float("nan")), "tensor with values from nan to nan"),
        (torch.zeros(3, 8, 8, dtype=torch.int64), r"tensor of type torch.int64; give uint8"),
        (torch.zeros(3, 8, 8, dtype=torch.bool), r"tensor of type torch.bool; give uint8"),
        (7, "int is no picture; give a path, PIL picture, array, tensor"),
        (None, "NoneType is no picture"),
        (b"\x89PNG", "bytes is no picture"),
    ],
)
def test_what_is_no_picture(predictor: DetectionPredictor, wrong: Any, message: str) -> None:
    with pytest.raises(DinotuneError, match=message):
        predictor.predict(wrong)
    with pytest.raises(DinotuneError, match=message):
        predictor.predict([wrong])


def test_unreadable_files(predictor: DetectionPredictor, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    for path in (tmp_path / "text.jpg", tmp_path / "missing.jpg", tmp_path):
        with pytest.raises(DataError, match=str(path)):
            predictor.predict(path)


@pytest.mark.parametrize("hw", [(64, 64), (30, 47), (250, 131), (1, 1)])
def test_boxes_come_in_the_picture_s_own_pixels(
    predictor: DetectionPredictor, monkeypatch: pytest.MonkeyPatch, hw: tuple[int, int]
) -> None:
    """Fixed boxes of the network: its upper left quarter, and one that reaches beyond all edges."""
    seen = []

    def predict(images: torch.Tensor) -> Detections:
        height, width = images.shape[-2:]
        seen.append((height, width))
        boxes = torch.tensor([[0, 0, width / 2, height / 2], [-9, -9, width + 9, height + 9], [0, 0, 0, 0]])
        return Detections(boxes[None], torch.tensor([[0.9, 0.8, 0.0]]), torch.tensor([[2, 0, -1]]))

    monkeypatch.setattr(predictor.model, "predict", predict)
    height, width = hw
    found = predictor.predict(np.zeros((height, width, 3), np.uint8), threshold=0)
    assert [side % 16 for side in seen[0]] == [0, 0]
    names = predictor.labels.names
    boxes, scores, labels, classes = zip(*rows(found), strict=True)
    assert boxes[0] == pytest.approx([0, 0, width / 2, height / 2], rel=1e-6)
    assert boxes[1] == [0, 0, width, height]
    assert scores == pytest.approx([0.9, 0.8])
    assert (labels, classes) == ((2, 0), (names[2], names[0]))


def test_boxes_of_a_trained_model_lie_inside(predictor: DetectionPredictor, picture: Path) -> None:
    image = Image.open(picture).convert("RGB").resize((201, 97))
    found = predictor.predict(image, threshold=0)
    boxes, scores, *_ = zip(*rows(found), strict=True)
    assert len(found) > 5
    assert all(0 <= x1 < x2 <= 201 and 0 <= y1 < y2 <= 97 for x1, y1, x2, y2 in boxes)
    assert max(x2 for _, _, x2, _ in boxes) > 100
    assert list(scores) == sorted(scores, reverse=True)


def test_thresholds(finished_run: Path, picture: Path) -> None:
    """None takes the stored one of each class, 0.5 where none is stored."""
    model, description = load_model(finished_run / "checkpoints" / "best_AP.safetensors")
    names = description.labels.names
    scores = torch.tensor([[0.9, 0.6, 0.6, 0.45, 0.3, 0.2]])
    labels = torch.tensor([[0, 0, 1, 1, 2, 2]])

    def fixed(_: torch.Tensor) -> Detections:
        return Detections(torch.tensor([[[1.0, 1, 20, 20]] * 6]), scores, labels)

    stored = {names[0]: 0.7, names[1]: None, names[2]: 0.25}
    predictor = DetectionPredictor(model, dataclasses.replace(description, thresholds=stored), "cpu")
    predictor.model.predict = fixed  # type: ignore[method-assign, assignment]

    def kept(threshold: float | None) -> list[float]:
        return [round(score, 4) for _, score, _, _ in rows(predictor.predict(picture, threshold))]

    assert kept(None) == [0.9, 0.6, 0.3]
    assert kept(0) == [0.9, 0.6, 0.6, 0.45, 0.3, 0.2]
    assert kept(0.5) == [0.9, 0.6, 0.6]
    assert kept(1) == []
    assert kept(1.0) == []


def test_alone_as_in_the_evaluation(finished_run: Path, predictor: DetectionPredictor, shapes: Path) -> None:
    """Batches of an evaluation change nothing for a picture, and files hold the same numbers."""
    folder = finished_run / "evaluations" / "data-val-best_AP"
    results = json.loads((folder / "predictions.json").read_text())
    images = json.loads((folder / "ground_truth.json").read_text())["images"]
    assert len(images) == 6
    for image in images:
        written = [entry for entry in results if entry["image_id"] == image["id"]]
        found = rows(predictor.predict(shapes / "images" / "val" / Path(image["file_name"]).name, threshold=0))
        assert found
        for (box, score, label, _), entry in zip(found, written, strict=True):
            x, y, width, height = entry["bbox"]
            assert box == pytest.approx([x, y, x + width, y + height], abs=0.01)
            assert score == pytest.approx(entry["score"], abs=1e-5)
            assert predictor.labels.ids[label] == entry["category_id"]


@pytest.mark.parametrize(("trained_in", "used"), [("fp16", "fp32"), ("bf16", "bf16"), ("auto", "fp32")])
def test_precision_of_the_training_where_the_cpu_has_it(
    finished_run: Path, picture: Path, trained_in: str, used: str
) -> None:
    model, description = load_model(finished_run / "checkpoints" / "best_AP.safetensors")
    experiment = changed(description.experiment, f"training.precision={trained_in}")
    predictor = DetectionPredictor(model, dataclasses.replace(description, experiment=experiment), "cpu")
    assert predictor.precision == used
    assert len(predictor.predict(picture, threshold=0)) > 0


def test_unknown_device(finished_run: Path) -> None:
    with pytest.raises(SettingsError, match="device: gpu is not available here"):
        api.load(finished_run, device="gpu")
