"""`dinotune check` and the check before training: what they print, exit with, and train on."""

import json
from pathlib import Path

import pytest

from dinotune import api, cli, config
from dinotune.checking import check
from dinotune.config.loading import dump_experiment
from dinotune.data.splits import read_records
from dinotune.errors import DataError
from tests.data.broken_sets import TOGETHER, CocoSet, draw
from tests.training.small_runs import changed, metrics


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """One folder with every way to be broken that can stand together."""
    data = CocoSet(tmp_path / "broken")
    for case in TOGETHER.values():
        case.build(data)
    data.write()
    return data.root


@pytest.fixture
def good(tmp_path: Path) -> Path:
    data = CocoSet(tmp_path / "good")
    data.write()
    return data.root


def page(experiment: config.Experiment, root: Path, file: Path, *overrides: str) -> str:
    file.write_text(dump_experiment(changed(experiment, f"data={root}", *overrides)))
    return str(file)


def test_a_folder_that_is_fine(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["check", str(good)]) == 0
    printed = capsys.readouterr().out
    assert "train: 4 pictures (0 without objects), 8 boxes (8 small, 0 medium, 0 large)" in printed
    assert "5 pictures decoded in " in printed
    assert printed.endswith("Fine: nothing stops a training (0 remarks).\n")


def test_of_several_files_the_named_one_is_checked(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = good / "annotations/instances_train.json"
    for year in (2014, 2017):
        (good / f"annotations/instances_train{year}.json").write_text(train.read_text())
    train.unlink()
    assert cli.run(["check", str(good)]) == 1
    assert "choose with data.train.annotations" in capsys.readouterr().err
    named = good / "annotations/instances_train2017.json"
    assert cli.run(["check", str(good), f"data.train.annotations={named}"]) == 0


def test_a_broken_folder(broken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "report.json"
    assert cli.run(["check", str(broken), "--report", str(report)]) == 1
    printed, problems = capsys.readouterr().out, json.loads(report.read_text())["problems"]
    assert len({problem["kind"] for problem in problems}) >= 25
    for problem in problems:
        assert problem["message"] in printed or problem["kind"] == "duplicate_box"
        assert problem["name"] in printed
    assert "Traceback" not in printed


def test_everything_is_shown_or_written_as_text(good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(25):
        draw(good / "images/train" / f"orphan{number}.png", number)
    assert cli.run(["check", str(good), "--report", str(tmp_path / "report.txt")]) == 0
    assert capsys.readouterr().out.count("no usable annotation") == 20
    assert (tmp_path / "report.txt").read_text().count("no usable annotation") == 25
    assert cli.run(["check", str(good), "--all"]) == 0
    assert capsys.readouterr().out.count("no usable annotation") == 25


def test_an_experiment_is_told_what_it_would_do(
    small_experiment: config.Experiment, good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["check", page(small_experiment, good, tmp_path / "e.yaml"), "training.batch_size=3"]
    assert cli.run(words) == 0
    said = capsys.readouterr().out.split("What training would do:\n")[1]
    assert "device: cpu" in said
    assert "before augmentation: 96 x 64: 4\n" in said
    assert "steps: 2 per epoch of 2 batches of at most 3, 4 in 2 epochs" in said
    assert "parameters: backbone" in said
    assert "memory: " in said
    assert "disk: " in said
    assert not (tmp_path / "runs").exists()


def test_an_experiment_with_broken_data_is_not_built(
    small_experiment: config.Experiment, broken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["check", page(small_experiment, broken, tmp_path / "e.yaml")]) == 1
    assert "What training would do" not in capsys.readouterr().out


def test_the_patch_is_the_backbones(small_experiment: config.Experiment, tmp_path: Path) -> None:
    data = CocoSet(tmp_path)
    data.box("good0.png", [3, 3, 9, 9])
    data.write()
    (said,) = check(page(small_experiment, tmp_path, tmp_path / "e.yaml")).findings.problems
    assert "1 of 9 objects (11.1%) are smaller than a patch of 16 x 16 at data.size=64; data.size=80" in said.message
    assert check(tmp_path / "e.yaml", ["backbone.tiny.patch_size=8"]).findings.problems == []


@pytest.mark.parametrize(
    ("words", "status", "expected"),
    [
        (["check"], 2, "Missing argument"),
        (["check", "a=b"], 2, "name a folder or an experiment"),
        (["check", "FOLDER", "more"], 2, "more: a folder takes key=value only"),
        (["check", "FOLDER", "data.sise=3"], 2, 'data.sise: unknown key; did you mean "size"?'),
        (["check", "FOLDER", "--report", "a.pdf"], 2, "a.pdf must end in .json or .txt"),
        (["check", "EMPTY"], 1, "no annotations found"),
        (["check", "nowhere"], 2, "nowhere"),
    ],
)
def test_mistakes(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], status: int, expected: str
) -> None:
    (tmp_path / "empty").mkdir()
    places = {"FOLDER": str(good), "EMPTY": str(tmp_path / "empty")}
    assert cli.run([places.get(word, word) for word in words]) == status
    assert expected in capsys.readouterr().err


def test_training_stops_on_broken_data(
    small_experiment: config.Experiment, broken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", page(small_experiment, broken, tmp_path / "e.yaml"), "--out", str(tmp_path / "run")]
    assert cli.run(words) == 1
    said = capsys.readouterr().err
    file = broken / "annotations/instances_train.json"
    assert "1 x picture that does not exist, " in said
    assert f"  {file}:" in said
    assert f"`dinotune check {broken}` lists all; data.on_error=skip goes on without them" in said
    assert "Traceback" not in said
    assert not (tmp_path / "run").exists()


def test_training_goes_on_without_what_is_broken(
    small_experiment: config.Experiment, broken: Path, tmp_path: Path
) -> None:
    settings = ("data.on_error=skip", "training.epochs=1")
    run = tmp_path / "run"
    words = ["train", page(small_experiment, broken, tmp_path / "e.yaml", *settings), "--out", str(run)]
    assert cli.run(words) == 0
    log = (run / "train.log").read_text()
    assert "1 × picture that does not exist, left out: " in log
    assert "pictures decoded, in " in log
    assert "1 × picture file without content, left out: " in log
    assert log.count("left out: ") > 15
    (epoch,) = (line for line in metrics(run) if line["kind"] == "epoch")
    assert epoch["train_loss"] > 0
    records = read_records(changed(small_experiment, f"data={broken}", *settings).data, "train", seed=0)
    assert len(records) == 34


def test_the_check_before_training_says_what_it_found_and_how_long_it_took(
    small_experiment: config.Experiment, good: Path, tmp_path: Path
) -> None:
    experiment = changed(small_experiment, f"data={good}", "training.epochs=1")
    log = (api.train(experiment, out=tmp_path / "run").folder / "train.log").read_text()
    assert "check: 5 pictures decoded, in 0.0 s; nothing to remark" in log.replace("0.1 s", "0.0 s")
    (good / "images/train/good0.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"good0.png: 0 bytes"):
        api.train(experiment, out=tmp_path / "second")


def test_large_sets_are_sampled(
    small_experiment: config.Experiment, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dinotune.training.data_check.MOST_PICTURES", 3)
    experiment = changed(small_experiment, f"data={good}", "training.epochs=1")
    log = (api.train(experiment, out=tmp_path / "run").folder / "train.log").read_text()
    assert "check: 4 pictures decoded, a sample of 5, in " in log
