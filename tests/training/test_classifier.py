"""A classifier from folder to answers: trained, resumed, measured, compared, used."""

import csv
import json
import re
from pathlib import Path

import pytest
from PIL import Image

from dinotune import api, cli, config
from dinotune.config.loading import load_experiment
from dinotune.errors import SettingsError
from tests.cifar_files import write_cifar
from tests.class_folders import COLOURS, draw_class_folders
from tests.training.small_runs import assert_killed_ends_the_same, changed

WORDS = [
    "backbone=tiny-dinov3",
    "backbone.tiny={width: 32, depth: 2}",
    "backbone.trainable=all",
    "data.size=64",
    "data.workers=0",
    "device=cpu",
    "training={epochs: 6, batch_size: 8, learning_rate: 2e-3}",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_class_folders(tmp_path_factory.mktemp("classifier") / "classes", train=8, val=4)


@pytest.fixture(scope="module")
def experiment(folder: Path) -> config.Experiment:
    return load_experiment("linear_classifier", (), [f"data={folder}", *WORDS], {}).experiment


@pytest.fixture(scope="module")
def run(experiment: config.Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return api.train(experiment, out=tmp_path_factory.mktemp("classifier") / "run").folder


def table(path: Path) -> list[list[str]]:
    return list(csv.reader(path.read_text().splitlines()))


def test_it_learns_the_colours(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["top1"] == 1.0
    assert metrics["top5"] is None, "of three classes"
    assert metrics["per_class"]["red"] == {"pictures": 4, "accuracy": 1.0, "answers": 4}
    assert (run / "checkpoints/best_top1.safetensors").is_file()
    assert "best loss and top1" in (run / "train.log").read_text()


def test_an_evaluation_writes_answers_and_confusion(run: Path, tmp_path: Path) -> None:
    found = api.evaluate(run, out=tmp_path / "out", pictures=2)
    assert (found["top1"], found["images"]) == (1.0, 12)
    answers = table(tmp_path / "out/predictions.csv")
    assert answers[0] == ["file", "class", "answer1", "score1", "answer2", "score2", "answer3", "score3"]
    assert all(Path(file).parent.name == true == said for file, true, said, *_ in answers[1:])
    assert table(tmp_path / "out/confusion.csv") == [
        ["class", *COLOURS],
        *([name, *(str(4 * (name == other)) for other in COLOURS)] for name in COLOURS),
    ]
    assert len(list((tmp_path / "out/pictures").glob("*.jpg"))) == 2


def test_a_killed_run_ends_like_one_that_was_not(experiment: config.Experiment, run: Path, tmp_path: Path) -> None:
    assert_killed_ends_the_same(experiment, run, tmp_path)


def test_prediction_writes_classes(run: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    words = ["predict", str(run), str(folder / "val/blue"), "--out", str(out), "--write"]
    assert cli.run([*words, "json,csv,pictures"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"out: 4 pictures, [\d.]+ pictures/s$", said, re.MULTILINE), "each has one answer: none to count"
    (first, *_) = json.loads((out / "predictions.json").read_text())["pictures"]
    assert first["classes"][0]["class"] == "blue"
    assert {said for _, said, *_ in table(out / "predictions.csv")[1:]} == {"blue"}
    with Image.open(next((out / "pictures").iterdir())) as drawn:
        assert drawn.width == 480
    assert cli.run([*words, "yolo"]) != 0
    assert "write: no yolo of this model's classes; it has csv, json, pictures" in capsys.readouterr().err
    assert cli.run([*words, "json", "--tiles", "32"]) != 0
    assert "tiles: a classifier answers for whole pictures" in capsys.readouterr().err


def test_a_threshold_leaves_the_sure_classes(run: Path, folder: Path) -> None:
    answer = api.load(run, device="cpu").predict(next((folder / "val/green").iterdir()), threshold=0.6)
    assert answer.class_id.tolist() == [1]
    assert answer.confidence is not None
    assert answer.confidence[0] >= 0.6


def test_adapters_are_compared_by_top1(folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.yaml"
    page.write_text("base: linear_classifier\n")
    words = [f"data={folder}", *WORDS[:2], *WORDS[3:6], "training.epochs=1", "adapter=frozen,bottleneck"]
    assert cli.run(["sweep", str(page), *words, "--out", str(tmp_path / "sweep")]) == 0
    head = (tmp_path / "sweep/table.md").read_text().splitlines()[0]
    assert head == "| combination | runs | top1 | top5 | change | learns | minutes | GB | best epoch |"
    assert (tmp_path / "sweep/plot.png").is_file()


def test_heads_refuse_labels_of_another_kind(experiment: config.Experiment, shapes: Path) -> None:
    with pytest.raises(SettingsError, match=r"linear_classifier needs a class per picture, but data train has boxes"):
        api.train(changed(experiment, f"data.root={shapes}"))
    with pytest.raises(SettingsError, match=r"detr needs boxes around objects, but classes train .* head=linear_class"):
        api.train(changed(experiment, "head=detr", "data.resize=square"))


def test_check_counts_pictures(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["check", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "train: 24 pictures\n  blue 8, green 8, red 8" in said
    assert "Fine: nothing stops a training" in said


def test_a_goal_of_another_task_is_refused_before_training(experiment: config.Experiment) -> None:
    with pytest.raises(SettingsError, match="linear_classifier has no AP50; use top1 or top5"):
        changed(experiment, "training.must_reach={metric: AP50, value: 0.5}")


def test_cifar_goes_the_whole_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_cifar(tmp_path / "data", per_file=18).parent
    assert cli.run(["check", str(root)]) == 0
    words = [f"data={root}", *WORDS, "data.size=32", "--out", str(tmp_path / "run")]
    assert cli.run(["train", "cifar10_linear_classifier", *words]) == 0
    assert "9 of 90 training pictures held out" in (tmp_path / "run/train.log").read_text()
    assert cli.run(["evaluate", str(tmp_path / "run"), "--split", "test"]) == 0
    assert "On 18 pictures: top1 " in capsys.readouterr().out
