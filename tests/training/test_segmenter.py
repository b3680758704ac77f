"""A segmenter of scenes from folder to answers: trained, resumed, measured, compared, used."""

import json
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dinotune import api, cli, config
from dinotune.config.loading import load_experiment
from dinotune.errors import DataError, SettingsError
from dinotune.predictors.segmentation import ClassMap, SegmentationPredictor
from tests.mask_folders import NAMES, VALUES, draw_mask_folder
from tests.training.small_runs import assert_killed_ends_the_same, changed

WORDS = [
    "backbone=tiny-dinov3",
    "backbone.tiny={width: 32, depth: 2, patch_size: 8}",
    "backbone.trainable=all",
    "head.norm=group",
    "data.size=64",
    "data.workers=0",
    "device=cpu",
    "training={epochs: 16, batch_size: 4, learning_rate: 4e-3, warmup_steps: 5, validate_every: 4}",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_mask_folder(tmp_path_factory.mktemp("segmenter") / "scenes", train=16, val=4)


@pytest.fixture(scope="module")
def experiment(folder: Path) -> config.Experiment:
    return load_experiment("linear_segmenter", (), [f"data={folder}", *WORDS], {}).experiment


@pytest.fixture(scope="module")
def run(experiment: config.Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return api.train(experiment, out=tmp_path_factory.mktemp("segmenter") / "run").folder


def test_it_learns_and_says_what_it_is_worth(run: Path) -> None:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [line["train_loss"] for line in lines if line["kind"] == "epoch"]
    assert losses[-1] < 0.7 * losses[0]
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["pixel_accuracy"] > 0.5
    assert metrics["per_class"].keys() == set(NAMES)
    assert (run / "checkpoints/best_mIoU.safetensors").is_file()


def test_an_evaluation_writes_masks_that_score_the_same(run: Path, folder: Path, tmp_path: Path) -> None:
    found = api.evaluate(run, out=tmp_path / "out", pictures=2)
    right = counted = 0
    for file in sorted((folder / "masks/val").iterdir()):
        truth, answered = (np.asarray(Image.open(path)) for path in (file, tmp_path / "out/masks" / file.name))
        assert set(np.unique(answered).tolist()) <= set(VALUES), "the data set's own ids"
        right += int(((truth == answered) & (truth != 255)).sum())
        counted += int((truth != 255).sum())
    assert found["pixel_accuracy"] == pytest.approx(right / counted)
    rows = (tmp_path / "out/confusion.csv").read_text().splitlines()
    assert rows[0] == ",".join(["class", *NAMES])
    assert sum(int(cell) for row in rows[1:] for cell in row.split(",")[1:]) == counted
    assert len(list((tmp_path / "out/pictures").glob("*.jpg"))) == 2


def test_a_killed_run_ends_like_one_that_was_not(experiment: config.Experiment, run: Path, tmp_path: Path) -> None:
    assert_killed_ends_the_same(experiment, run, tmp_path)


def test_windows_are_slid_in_the_evaluation(run: Path, tmp_path: Path) -> None:
    whole = api.evaluate(run, out=tmp_path / "whole")
    words = ["evaluation.window=32", "evaluation.window_stride=16"]
    slid = api.evaluate(run, overrides=words, out=tmp_path / "slid")
    assert slid["mIoU"] != whole["mIoU"]
    assert slid["losses"]["loss"] > 0
    one_window = api.evaluate(run, overrides=["evaluation.window=999"], out=tmp_path / "one")
    assert one_window["mIoU"] == pytest.approx(whole["mIoU"], abs=0.01)
    assert slid["images"] == 4


def test_prediction_is_that_of_the_evaluation(run: Path, folder: Path, tmp_path: Path) -> None:
    api.evaluate(run, out=tmp_path / "out")
    predictor = api.load(run, device="cpu")
    files = tuple(sorted((folder / "images/val").iterdir()))
    for file, answer in zip(files, predictor.predict(files), strict=True):
        assert isinstance(answer, ClassMap)
        written = np.asarray(Image.open(tmp_path / "out/masks" / file.name))
        assert np.array_equal(np.array(answer.labels.ids)[answer.classes], written)
        assert sum(answer.shares.values()) == pytest.approx(1)
        found = answer.to_supervision()
        assert found.mask is not None
        assert np.asarray(found.mask).sum(0).min() == np.asarray(found.mask).sum(0).max() == 1, "a class each"
        assert list(found.data["class_name"]) == [NAMES[label] for label in np.unique(answer.classes)]


def test_prediction_writes_masks(run: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    words = ["predict", str(run), str(folder / "images/val"), "--out", str(out), "--write"]
    assert cli.run([*words, "json,masks,pictures"]) == 0
    said = capsys.readouterr().out
    assert "every pixel has the class with the highest score" in said
    assert "4 pictures, " in said
    assert "classes, " not in said
    (first, *_) = json.loads((out / "predictions.json").read_text())["pictures"]
    assert sum(entry["share"] for entry in first["classes"]) == pytest.approx(1, abs=1e-3)
    assert sorted(path.name for path in (out / "masks").iterdir()) == [f"{number}.png" for number in range(4)]
    assert len(list((out / "pictures").iterdir())) == 4
    for wrong, said in (
        (["json,coco"], "write: no coco of this model's classes; it has json, masks, pictures"),
        (["json", "--tiles", "32"], "tiles: a segmenter slides windows"),
        (["json", "--threshold", "0.5"], "threshold: every pixel has the class"),
    ):
        assert cli.run([*words, *wrong]) != 0
        assert said in capsys.readouterr().err


def test_masks_are_written_as_they_come(
    run: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any number of pictures takes the same memory: answers are not held until the last."""
    answers: list[weakref.ref[ClassMap]] = []
    written: list[int] = []
    stream = SegmentationPredictor.stream

    def watched(*args: Any) -> Iterator[tuple[Any, ClassMap]]:
        for key, answer in stream(*args):
            answers.append(weakref.ref(answer))
            written.append(len(list(tmp_path.glob("out/masks/*.png"))))
            yield key, answer
        assert answers[0]() is None

    monkeypatch.setattr(SegmentationPredictor, "stream", watched)
    settings = config.Prediction(write=("json", "masks"), batch_size=1)
    api.predict_files(run, [folder / "images/train"], out=tmp_path / "out", settings=settings, device="cpu")
    assert len(answers) == 16
    assert written[-1] > 0


def test_the_command_prints_classes(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["evaluate", str(run), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "On 4 pictures: mIoU 0." in said
    assert all(word in said for word in ("pixels", "IoU", "accuracy", *NAMES))


def test_heads_refuse_labels_of_another_kind(experiment: config.Experiment) -> None:
    with pytest.raises(SettingsError, match="detr needs boxes around objects, but scenes train has a class per pixel"):
        api.train(changed(experiment, "head=detr"))


def test_a_mask_of_unknown_values_stops_with_its_name(experiment: config.Experiment, tmp_path: Path) -> None:
    broken = draw_mask_folder(tmp_path / "broken", train=4, val=2)
    path = broken / "masks/train/2.png"
    mask = np.array(Image.open(path))
    mask[5, 7] = 200
    Image.fromarray(mask).save(path)
    with pytest.raises(DataError, match=r"train/2\.png.*200 \(1 px\), first at x 7, y 5"):
        api.train(changed(experiment, f"data={broken}"))
