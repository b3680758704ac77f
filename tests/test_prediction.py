"""Prediction on files and folders: JSON and drawn pictures for all that can be read, names for the rest."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from dinotune import api, config
from dinotune.data.shape_pictures import SHAPE_CLASSES
from dinotune.errors import DataError
from dinotune.prediction import picture_files


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
    assert str(folder / "broken.jpg") in str(raised.value)
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
