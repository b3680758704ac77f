"""The verbs for Python, one after the other, on a small run."""

import json
from pathlib import Path

import pytest

import dinotune as dt
from dinotune import api, config
from dinotune.config.loading import dump_experiment
from dinotune.errors import DataError, SettingsError
from tests.training.small_runs import changed


def test_the_verbs_are_public(finished_run: Path, shapes: Path) -> None:
    model = dt.load(finished_run)
    picture = next((shapes / "images" / "val").iterdir())
    assert len(model.predict(picture, threshold=0)) > 0
    assert model.labels.names == tuple(api.Run(finished_run).metrics["per_class"])
    assert {dt.train, dt.resume, dt.evaluate} == {api.train, api.resume, api.evaluate}


def test_a_file_and_its_settings_in_memory_train_the_same(small_experiment: config.Experiment, tmp_path: Path) -> None:
    experiment = changed(small_experiment, "training.epochs=1", "data.train.limit=4")
    page = tmp_path / "mine.yaml"
    page.write_text(dump_experiment(experiment))
    sources: tuple[config.Experiment | Path | str, ...] = (experiment, page, str(page))
    runs = [api.train(source, out=tmp_path / str(number)) for number, source in enumerate(sources)]
    assert runs[0].metrics["AP"] is not None
    for run in runs[1:]:
        assert run.metrics == runs[0].metrics
        assert (run.folder / "experiment.yaml").read_text() == page.read_text()


def test_environment_variables_are_noted(
    small_experiment: config.Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "mine.yaml"
    page.write_text(dump_experiment(changed(small_experiment, "data.train.limit=4")))
    monkeypatch.setenv("DINOTUNE__TRAINING__EPOCHS", "1")
    run = api.train(page, out=tmp_path / "run", notes=["said by the caller"])
    log = (run.folder / "train.log").read_text()
    assert "said by the caller" in log
    assert "DINOTUNE__TRAINING__EPOCHS" in log
    assert "epoch 1/1 " in log


def test_a_run_without_evaluation_has_no_metrics(tmp_path: Path) -> None:
    assert api.Run(tmp_path).metrics == {}


def test_data_that_is_not_there(small_experiment: config.Experiment, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        api.train(changed(small_experiment, f"data={tmp_path / 'nowhere'}"), out=tmp_path / "run")
    with pytest.raises(DataError, match="nowhere"):
        api.evaluate(make_run(small_experiment, tmp_path), overrides=[f"data={tmp_path / 'nowhere'}"])


def make_run(experiment: config.Experiment, folder: Path) -> Path:
    return api.train(changed(experiment, "training.epochs=1", "data.train.limit=4"), out=folder / "made").folder


def test_training_on_its_own_validation_split(small_experiment: config.Experiment, tmp_path: Path) -> None:
    """`evaluation.split=train` measures the training pictures, for overfitting on purpose."""
    settings = ("evaluation.split=train", "training.epochs=1", "data.train.limit=5")
    run = api.train(changed(small_experiment, *settings), out=tmp_path / "run")
    assert run.metrics["images"] == 5
    truth = json.loads((run.folder / "evaluations" / "data-train-best_AP" / "ground_truth.json").read_text())
    assert all("/train/" in image["file_name"] for image in truth["images"])
    found = api.evaluate(run.folder)
    assert (found["images"], found["AP"]) == (5, run.metrics["AP"])


def test_evaluations_of_a_lone_file_lie_beside_it(
    finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "sent" / "best_AP.safetensors"
    file.parent.mkdir()
    file.write_bytes((finished_run / "checkpoints" / "best_AP.safetensors").read_bytes())
    found = api.evaluate(file)
    assert Path(found["folder"]) == tmp_path / "sent" / "evaluations" / "data-val-best_AP"
    printed = "".join(capsys.readouterr())
    assert f"{file.name}, after epoch" in "".join(printed.split("\n"))
    assert found["AP"] == api.Run(finished_run).metrics["AP"]


def test_an_unknown_key_is_named(finished_run: Path) -> None:
    with pytest.raises(SettingsError, match='did you mean "max_detections"'):
        api.evaluate(finished_run, overrides=["evaluation.max_detection=3"])
