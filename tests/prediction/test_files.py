"""Prediction on files and folders: JSON and drawn pictures for all that can be read, names for the rest."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dinotune import api, cli, config
from dinotune.checkpoints import load_model, write_checkpoint
from dinotune.data.batches import Batch
from dinotune.data.shape_pictures import SHAPE_CLASSES
from dinotune.errors import DataError, SettingsError
from dinotune.prediction import picture_files
from dinotune.predictors.detection import DetectionPredictor
from dinotune.types import Predictions


@pytest.fixture
def folder(shapes: Path, tmp_path: Path) -> Path:
    """`pictures/a.png, a.bmp, a-2.png, deep/a.JPG, broken.jpg, notes.txt`."""
    source = sorted((shapes / "images" / "val").iterdir())
    root = tmp_path / "pictures"
    (root / "deep").mkdir(parents=True)
    for index, name in enumerate(("a.png", "a.bmp", "a-2.png", "deep/a.JPG")):
        with Image.open(source[index]) as image:
            image.save(root / name, quality=95)
    (root / "broken.jpg").write_text("no picture")
    (root / "notes.txt").write_text("no picture either")
    return root


def test_all_that_can_be_read_is_written(finished_run: Path, folder: Path, shapes: Path, tmp_path: Path) -> None:
    single = min((shapes / "images" / "test").iterdir())
    out = tmp_path / "out"
    with pytest.raises(DataError) as raised:
        api.predict_files(finished_run, [folder, str(single)], out=out, settings=config.Prediction(threshold=0))
    assert f"{folder / 'broken.jpg'}: not a readable picture: begins with b'no picture'" in str(raised.value)
    assert f"1 of 6 files left out; the rest is in {out}" in str(raised.value)
    content = json.loads((out / "predictions.json").read_text())
    assert content["classes"] == list(SHAPE_CLASSES)
    files = [folder / "a-2.png", folder / "a.bmp", folder / "a.png", folder / "deep/a.JPG", single]
    assert [entry["file"] for entry in content["pictures"]] == [str(file) for file in files]
    drawn = sorted(path.name for path in (out / "pictures").iterdir())
    assert drawn == sorted(["a-2.jpg", "a.jpg", "a-3.jpg", "a-4.jpg", f"{single.stem}.jpg"])
    for name in drawn:
        with Image.open(out / "pictures" / name) as image:
            assert min(image.size) >= 64


def test_says_what_was_found(
    finished_run: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for threshold, expected in ((0.0, "20 detections"), (1.0, "0 detections")):
        settings = config.Prediction(threshold=threshold, write=("json",))
        api.predict_files(finished_run, [folder / "a.png"], out=tmp_path / "out", settings=settings)
        printed = capsys.readouterr().out
        assert f"{tmp_path / 'out'}: 1 picture, {expected}, " in printed
        assert ("a lower --threshold" in printed) is (threshold == 1)
    with pytest.raises(DataError, match="none of the files could be read"):
        api.predict_files(finished_run, [folder / "broken.jpg"], out=tmp_path / "out")


def test_pictures_where_results_go_are_refused(finished_run: Path, folder: Path) -> None:
    with pytest.raises(SettingsError, match=r"out: all pictures lie in .*pictures, where results go; name another"):
        api.predict_files(finished_run, [folder / "a.png"], out=folder.parent)


def test_entries_equal_the_predictor(finished_run: Path, folder: Path, tmp_path: Path) -> None:
    api.predict_files(
        str(finished_run), [folder / "a.png"], out=str(tmp_path / "out"), settings=config.Prediction(threshold=0.01)
    )
    (entry,) = json.loads((tmp_path / "out" / "predictions.json").read_text())["pictures"]
    with Image.open(folder / "a.png") as image:
        assert (entry["width"], entry["height"]) == image.size
    found = api.load(finished_run).predict(folder / "a.png", threshold=0.01)
    assert found.confidence is not None
    assert len(entry["detections"]) == len(found) > 0
    for row, box, score, name in zip(
        entry["detections"], found.xyxy, found.confidence, found.data["class_name"], strict=True
    ):
        assert row["class"] == name
        assert row["score"] == pytest.approx(score, abs=1e-4)
        assert row["box_xyxy"] == pytest.approx(box.tolist(), abs=0.01)


def test_stored_thresholds_are_the_default(finished_run: Path, folder: Path, tmp_path: Path) -> None:
    api.predict_files(finished_run, [folder / "a.png"], out=tmp_path / "out")
    (entry,) = json.loads((tmp_path / "out" / "predictions.json").read_text())["pictures"]
    assert len(entry["detections"]) == len(api.load(finished_run).predict(folder / "a.png"))
    api.predict_files(finished_run, [folder / "a.png"], out=tmp_path / "out", settings=config.Prediction(threshold=1))
    (entry,) = json.loads((tmp_path / "out" / "predictions.json").read_text())["pictures"]
    assert entry["detections"] == []
    assert (tmp_path / "out" / "pictures" / "a.jpg").is_file()


def test_results_inside_the_folder_are_not_predicted_again(finished_run: Path, folder: Path) -> None:
    (folder / "broken.jpg").unlink()
    for _ in range(2):
        out = api.predict_files(finished_run, [folder], out=folder / "predictions")
        assert len(json.loads((out / "predictions.json").read_text())["pictures"]) == 4


def test_nothing_to_predict_on(finished_run: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").touch()
    with pytest.raises(DataError, match=r"no pictures in .*empty; looked for .*\.jpg"):
        api.predict_files(finished_run, [tmp_path / "empty"], out=tmp_path / "out")
    with pytest.raises(DataError, match="nowhere: no such file or folder"):
        api.predict_files(finished_run, [tmp_path / "nowhere"], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_files_are_sorted_within_each_folder(folder: Path) -> None:
    shutil.move(folder / "broken.jpg", folder / "deep" / "0.webp")
    names = [str(path.relative_to(folder)) for path in picture_files([folder / "deep", folder / "notes.txt", folder])]
    assert names == ["deep/0.webp", "deep/a.JPG", "notes.txt", "a-2.png", "a.bmp", "a.png", "deep/0.webp", "deep/a.JPG"]


def scores(found: dict[str, Any]) -> dict[str, list[float]]:
    """Scores per class, best first."""
    rows = [row for entry in found["pictures"] for row in entry["detections"]]
    return {
        name: sorted((row["score"] for row in rows if row["class"] == name), reverse=True) for name in SHAPE_CLASSES
    }


def test_each_class_has_its_own_threshold_from_the_file(
    finished_run: Path, shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the checkpoint's bytes to the file: the middle score of a class cuts it in half; without one, 0.5 counts."""
    pictures = str(shapes / "images" / "val")

    def predict(model: Path, *words: str) -> dict[str, Any]:
        assert cli.run(["predict", str(model), pictures, "--out", str(tmp_path / "out"), *words]) == 0
        content: dict[str, Any] = json.loads((tmp_path / "out" / "predictions.json").read_text())
        return content

    everything = scores(predict(finished_run, "--threshold", "0"))
    first, second, third = SHAPE_CLASSES
    assert min(len(everything[name]) for name in (first, second)) > 4
    middle = {name: (everything[name][2] + everything[name][3]) / 2 for name in (first, second)}
    model, description = load_model(finished_run / "checkpoints" / "best_AP.safetensors")
    file = tmp_path / "model.safetensors"
    write_checkpoint(file, model, dataclasses.replace(description, thresholds={**middle, third: None}))
    capsys.readouterr()
    content = predict(file)
    by_default = [score for score in everything[third] if score >= 0.5]
    assert scores(content) == {first: everything[first][:3], second: everything[second][:3], third: by_default}
    assert content["thresholds"] == {**middle, third: 0.5}
    said = (
        f"thresholds of the model: {first} {middle[first]:.2f}, {second} {middle[second]:.2f}, {third} 0.50 (default)"
    )
    assert capsys.readouterr().out.splitlines()[0] == said
    assert scores(predict(file, "--threshold", "0")) == everything
    assert "threshold 0 for all classes" in capsys.readouterr().out


def test_a_run_stores_the_thresholds_of_its_evaluation(finished_run: Path) -> None:
    measured = json.loads((finished_run / "metrics.json").read_text())["per_class"]
    stored = api.load(finished_run).description.thresholds
    assert stored == {name: measured[name]["threshold"] for name in SHAPE_CLASSES}
    assert any(stored.values())


def test_pictures_of_one_shape_are_computed_together(
    finished_run: Path, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches change no result, and the order of the files is kept."""
    sizes: list[int] = []
    detect = DetectionPredictor.run

    def counted(self: DetectionPredictor, pictures: Any) -> tuple[Predictions, Batch]:
        sizes.append(len(pictures))
        return detect(self, pictures)

    monkeypatch.setattr(DetectionPredictor, "run", counted)
    contents = []
    for batch_size in (1, 5):
        settings = config.Prediction(threshold=0, batch_size=batch_size)
        out = api.predict_files(finished_run, [shapes / "images" / "train"], out=tmp_path / "out", settings=settings)
        contents.append(json.loads((out / "predictions.json").read_text())["pictures"])
    assert sizes[:18] == [1] * 18
    assert sum(sizes[18:]) == 18
    assert max(sizes[18:]) == 5
    assert len(sizes[18:]) <= 5
    for alone, together in zip(*contents, strict=True):
        assert alone["file"] == together["file"]
        boxes = [np.array([row["box_xyxy"] for row in entry["detections"]]) for entry in (alone, together)]
        assert boxes[0] == pytest.approx(boxes[1], abs=0.02)
        assert len(boxes[0]) > 0


def test_ctrl_c_keeps_what_was_predicted(
    finished_run: Path, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detect = DetectionPredictor.run
    done: list[Any] = []

    def interrupted(self: DetectionPredictor, pictures: Any) -> tuple[Predictions, Batch]:
        if len(done) == 10:
            raise KeyboardInterrupt
        done.append(pictures)
        return detect(self, pictures)

    monkeypatch.setattr(DetectionPredictor, "run", interrupted)
    pictures, out = shapes / "images" / "train", tmp_path / "out"
    assert cli.run(["predict", str(finished_run), str(pictures), "--out", str(out), "--batch-size", "1"]) == 130
    entries = json.loads((out / "predictions.json").read_text())["pictures"]
    files = [str(path) for path in sorted(pictures.iterdir())]
    assert 1 <= len(entries) <= 10
    assert [entry["file"] for entry in entries] == files[: len(entries)]
    assert list(out.rglob(".*")) == []


def test_a_second_run_replaces_its_own_files_only(finished_run: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "pictures").mkdir(parents=True)
    (out / "notes.txt").write_text("mine")
    (out / "pictures" / "mine.jpg").write_text("mine")
    for name in ("a.png", "a-2.png"):
        api.predict_files(finished_run, [folder / name], out=out)
    assert [entry["file"] for entry in json.loads((out / "predictions.json").read_text())["pictures"]] == [
        str(folder / "a-2.png")
    ]
    assert {path.name for path in (out / "pictures").iterdir()} == {"a.jpg", "a-2.jpg", "mine.jpg"}
    assert (out / "notes.txt").read_text() == (out / "pictures" / "mine.jpg").read_text() == "mine"


@pytest.mark.parametrize(
    ("write", "there"),
    [
        ("json", {"predictions.json"}),
        ("pictures", {"pictures"}),
        ("yolo", {"yolo"}),
        ("coco, json", {"coco", "predictions.json"}),
    ],
)
def test_only_what_is_asked_for(finished_run: Path, folder: Path, tmp_path: Path, write: str, there: set[str]) -> None:
    out = tmp_path / "out"
    api.predict_files(finished_run, [folder / "a.png"], out=out, settings=config.Prediction.checked(write=write))
    assert {path.name for path in out.iterdir()} == there
