"""Training stops after so many evaluations without improvement, says why, and goes on when told to."""

from pathlib import Path
from typing import Any

import pytest

from dinotune import api, config
from dinotune.training.early_stopping import evaluations_without_improvement, why_stop
from tests.training.small_runs import changed, metrics


def lines(*values: tuple[float | None, float | None]) -> list[dict[str, Any]]:
    return [{"epoch": epoch, "AP": ap, "val_loss": loss} for epoch, (ap, loss) in enumerate(values)]


@pytest.mark.parametrize(
    ("settings", "epochs", "waited"),
    [
        ({}, [], 0),
        ({}, lines((0.1, 5), (0.2, 6), (0.3, 7)), 0),
        ({}, lines((0.3, 5), (0.3, 4), (0.2, 3)), 2),
        ({}, lines((0.3, 5), (0.2, 4), (0.4, 3), (0.1, 2)), 1),
        ({}, lines((None, 5), (None, 4), (0.0, 3)), 0),
        ({}, lines((0.1, 5), (None, 4)), 1),
        ({"metric": "loss"}, lines((0.1, 5), (0.0, 4), (0.0, 3)), 0),
        ({"metric": "loss"}, lines((0.1, 5), (0.2, 6), (0.3, None)), 2),
        ({"min_improvement": 0.05}, lines((0.10, 5), (0.14, 4), (0.16, 3)), 0),
        ({"min_improvement": 0.05}, lines((0.10, 5), (0.14, 4), (0.15, 3)), 2),
        ({}, [*lines((0.3, 5)), {"epoch": 1}, {"epoch": 2}, {"epoch": 3, "AP": 0.2, "val_loss": 4}], 1),
    ],
    ids=str,
)
def test_evaluations_are_counted(settings: dict[str, Any], epochs: list[dict[str, Any]], waited: int) -> None:
    assert evaluations_without_improvement(epochs, config.EarlyStopping(**settings), "AP") == waited


def test_a_number_is_the_patience(small_experiment: config.Experiment) -> None:
    experiment = changed(small_experiment, "training.early_stopping=3")
    assert experiment.training.early_stopping == config.EarlyStopping(patience=3)
    assert changed(experiment, "training.early_stopping=none").training.early_stopping is None


def test_why_is_said() -> None:
    settings = config.EarlyStopping(patience=2, metric="loss", min_improvement=0.5)
    epochs = lines((0.1, 5), (0.2, 4.8), (0.3, 4.7))
    assert why_stop(epochs, None, "AP") is None
    assert why_stop(epochs[:2], settings, "AP") is None
    assert why_stop(epochs, settings, "AP") == (
        "stopped early after epoch 3: no lower validation loss by more than 0.5 in 2 evaluations; to go on, resume "
        "with training.early_stopping.patience=4 or training.early_stopping=none"
    )


def test_a_run_stops_and_goes_on_with_more_patience(small_experiment: config.Experiment, tmp_path: Path) -> None:
    """What it then does is what a run does that was patient from the start."""
    short = ("data.train.limit=4", "training.epochs=4")
    stopping = "training.early_stopping={patience: 1, metric: loss, min_improvement: 100}"
    run = api.train(changed(small_experiment, *short, stopping), out=tmp_path / "run").folder
    log = (run / "train.log").read_text()
    assert "stopped early after epoch 2" in log
    assert log.index("stopped early") < log.index("next:\n"), "the run is closed as any other"
    before = metrics(run)
    assert [line["epoch"] for line in before if line["kind"] == "epoch"] == [0, 1]
    api.resume(run)
    assert metrics(run) == before
    api.resume(run, ["training.epochs=5"])
    assert metrics(run) == before, "patience is what ended it"
    api.resume(run, ["training.early_stopping.patience=2", "training.epochs=4"])
    assert [line["epoch"] for line in metrics(run) if line["kind"] == "epoch"] == [0, 1, 2]
    api.resume(run, ["training.early_stopping=none"])
    patient = api.train(changed(small_experiment, *short), out=tmp_path / "patient").folder
    assert metrics(run) == metrics(patient)
    assert (run / "train.log").read_text().count("stopped early") == 4
