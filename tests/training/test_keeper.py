"""Which files are kept: best by AP, best by loss, every N epochs; and when is evaluated."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dinotune import api, config
from dinotune.checkpoints import read_checkpoint
from dinotune.evaluation import Evaluation, evaluate_model
from tests.training.small_runs import changed, metrics, run_state

Scores = list[tuple[float | None, float]]
NAN = float("nan")


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Callable[[Scores], None]:
    """Replaces AP and loss of the evaluations of a training, one after the other."""

    def install(scores: Scores) -> None:
        left = iter(scores)

        def evaluate(*arguments: Any, **keywords: Any) -> Evaluation:
            ap, loss = next(left)
            found = evaluate_model(*arguments, **keywords)
            numbers = found.metrics.numbers | {"AP": ap}
            per_class = {name: {**values, "threshold": ap} for name, values in found.metrics.per_class.items()}
            measured = dataclasses.replace(found.metrics, numbers=numbers, per_class=per_class)
            return dataclasses.replace(found, metrics=measured, losses={"loss": loss})

        monkeypatch.setattr("dinotune.training.trainer.evaluate_model", evaluate)

    return install


@pytest.mark.parametrize(
    ("scores", "best_ap", "best_loss"),
    [
        ([(0.1, 3.0), (0.3, 2.0), (0.2, 1.0)], 1, 2),
        ([(0.3, 1.0), (0.3, 1.0), (0.1, 2.0)], 0, 0),
        ([(0.0, NAN), (0.1, 3.0), (0.2, 4.0)], 2, 1),
        ([(0.0, 3.0), (0.0, 2.0), (0.0, 2.5)], 1, 1),
        ([(None, 2.0), (0.0, NAN), (0.0, 1.0)], 2, 2),
    ],
    ids=["differ", "first of equals", "NaN at first", "ties", "no AP at first"],
)
def test_best_by_ap_and_by_loss(
    small_experiment: config.Experiment,
    tmp_path: Path,
    scripted: Callable[[Scores], None],
    scores: Scores,
    best_ap: int,
    best_loss: int,
) -> None:
    scripted(scores)
    settings = ("training.epochs=3", "data.train.limit=4", "training.checkpoint_every=2")
    run = api.train(changed(small_experiment, *settings), out=tmp_path / "run")
    files = {path.name for path in (run.folder / "checkpoints").iterdir()}
    assert files == {"last.ckpt", "best_AP.safetensors", "best_loss.safetensors", "epoch_2.safetensors"}
    for name, epoch in (("best_AP", best_ap), ("best_loss", best_loss), ("epoch_2", 1)):
        _, description = read_checkpoint(run.folder / "checkpoints" / f"{name}.safetensors")
        assert description.epoch == epoch, name
        assert description.metrics["AP"] == scores[epoch][0], name
        assert set(description.thresholds.values()) == {scores[epoch][0]}, name
    assert run.metrics["AP"] == scores[best_ap][0]
    assert run_state(run.folder)["best"] == {"AP": scores[best_ap][0], "loss": scores[best_loss][1]}


def test_evaluated_every_second_epoch_and_at_the_end(
    small_experiment: config.Experiment, tmp_path: Path, scripted: Callable[[Scores], None]
) -> None:
    scripted([(0.2, 2.0), (0.1, 1.0)])
    settings = ("training.epochs=3", "training.validate_every=2", "data.train.limit=4")
    run = api.train(changed(small_experiment, *settings), out=tmp_path / "run").folder
    epochs = [line for line in metrics(run) if line["kind"] == "epoch"]
    assert [line.get("AP") for line in epochs] == [None, 0.2, 0.1]
    assert ["val_loss" in line for line in epochs] == [False, True, True]
    described = {n: read_checkpoint(run / f"checkpoints/epoch_{n}.safetensors")[1] for n in (1, 2, 3)}
    assert {n: description.epoch for n, description in described.items()} == {1: 0, 2: 1, 3: 2}
    assert described[1].thresholds == {}, "nothing was measured yet"


def test_why_ap_is_zero_is_said(
    small_experiment: config.Experiment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a learning rate of next to nothing the model stays untrained."""
    settings = ("training.epochs=1", "training.learning_rate=1e-12", "head.score_threshold=0.99", "data.train.limit=4")
    run = api.train(changed(small_experiment, *settings), out=tmp_path / "run")
    assert run.metrics["AP"] == 0
    said = "there are no detections at all, so every AP is 0: every score is under the head's threshold"
    assert said in (run.folder / "train.log").read_text()
    capsys.readouterr()
    measured = api.evaluate(run.folder)
    assert measured["AP"] == 0
    assert said in capsys.readouterr().out
    assert json.loads((Path(measured["folder"]) / "predictions.json").read_text()) == []
