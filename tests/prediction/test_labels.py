"""Predictions written as labels are data sets: our readers give back the same boxes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dinotune import api, config
from dinotune.data.formats import READERS, detect_format, find_splits
from dinotune.data.problems import Findings
from dinotune.errors import DataError, SettingsError


@pytest.fixture
def folder(shapes: Path, tmp_path: Path) -> Path:
    """Three pictures, one turned by its EXIF, and an empty one, in two folders."""
    root = tmp_path / "pictures"
    (root / "deep").mkdir(parents=True)
    source = sorted((shapes / "images" / "val").iterdir())
    for path, name in zip(source[:3], ("a.png", "deep/a.jpg", "b.jpg"), strict=True):
        with Image.open(path) as image:
            exif = image.getexif()
            if name == "b.jpg":
                exif[0x0112] = 6
            image.resize((96, 64)).save(root / name, exif=exif)
    Image.new("RGB", (50, 40)).save(root / "black.png")
    return root


def predict(run: Path, pictures: Path, out: Path, **settings: Any) -> Path:
    return api.predict_files(run, [pictures], out=out, settings=config.Prediction.checked(**settings))


@pytest.mark.parametrize("kind", ["yolo", "coco"])
def test_labels_open_again_as_they_were_predicted(finished_run: Path, folder: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"
    for _ in range(2):  # a second run into the folder replaces the first
        predict(finished_run, folder, out, threshold=0.05, write=f"json,{kind}")
    assert detect_format(out / kind) == kind
    findings = Findings()
    records = READERS[kind](find_splits(out / kind, kind)["train"], kind, None, findings)
    assert findings.problems == []
    labels = api.load(finished_run).labels
    assert records.labels.names == labels.names
    if kind == "coco":
        assert records.labels.ids == labels.ids
    entries = {
        Path(entry["file"]).resolve(): entry for entry in json.loads((out / "predictions.json").read_text())["pictures"]
    }
    assert {Path(str(path)).resolve() for path in records.paths} == set(entries)
    assert len(records.boxes) > 4
    for record in (records[index] for index in range(len(records))):
        entry = entries[record.path.resolve()]
        assert (record.height, record.width) == (entry["height"], entry["width"])
        written = np.array([row["box_xyxy"] for row in entry["detections"]]).reshape(-1, 4)
        assert record.boxes == pytest.approx(written, abs=0.01)
        assert [labels.names[label] for label in record.labels] == [row["class"] for row in entry["detections"]]
    turned = next(record for record in entries.values() if record["file"].endswith("b.jpg"))
    assert (turned["width"], turned["height"]) == (64, 96)


def test_coco_labels_have_scores(finished_run: Path, folder: Path, tmp_path: Path) -> None:
    out = predict(finished_run, folder / "a.png", tmp_path / "out", threshold=0.05, write="json,coco")
    annotations = json.loads((out / "coco/annotations/instances_train.json").read_text())["annotations"]
    [entry] = json.loads((out / "predictions.json").read_text())["pictures"]
    expected = [row["score"] for row in entry["detections"]]
    assert [row["score"] for row in annotations] == pytest.approx(expected, abs=1e-4)
    assert len(expected) > 0


def test_a_picture_without_detections_has_an_empty_label_file(finished_run: Path, folder: Path, tmp_path: Path) -> None:
    out = predict(finished_run, folder / "a.png", tmp_path / "out", threshold=1, write="yolo")
    assert (out / "yolo/labels/train/a.txt").read_text() == ""


def test_labels_inside_the_folder_are_not_predicted_again(finished_run: Path, folder: Path) -> None:
    for _ in range(2):
        out = predict(finished_run, folder, folder / "out", write="json,pictures,yolo,coco")
        assert len(json.loads((out / "predictions.json").read_text())["pictures"]) == 4


def test_what_cannot_be_labels_is_said_before_any_work(finished_run: Path, folder: Path, tmp_path: Path) -> None:
    (folder / "a.bmp").write_bytes((folder / "a.png").read_bytes())
    with pytest.raises(DataError, match=r"a\.bmp and .*a\.png would share one label file"):
        predict(finished_run, folder, tmp_path / "out", write="yolo")
    video = tmp_path / "film.mp4"
    video.touch()
    with pytest.raises(SettingsError, match=r"write: yolo, coco is for pictures; leave out .*film\.mp4"):
        predict(finished_run, video, tmp_path / "out", write="json,yolo,coco")
    assert not (tmp_path / "out").exists()
