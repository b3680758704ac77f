"""`training.minutes`: epochs and evaluations fit the time, are stored, and timing leaves no trace in the run."""

import math
from pathlib import Path

import pytest
import torch

from dinotune import api, config
from dinotune.config.loading import load_experiment
from dinotune.data.splits import read_records
from dinotune.errors import SettingsError
from dinotune.training.changes import resumed
from dinotune.training.duration import MOST_EVALUATIONS, find_epochs, plan
from dinotune.training.preparation import prepare
from tests.training.small_runs import assert_same_runs, assert_same_tensors, changed

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("seconds", "epoch", "evaluation", "expected"),
    [
        (600, 10, 5, (56, 7)),  # 8 evaluations: 560 + 40 s
        (600, 100, 20, (5, 1)),  # each of 5 epochs is evaluated
        (600, 10, 100, (50, 50)),  # a quarter of the time holds one evaluation
        (600, 10, 60, (48, 24)),  # and here two
        (600, 1000, 20, (1, 1)),
        (600, 1, 1000, (1, 1)),
    ],
)
def test_epochs_and_evaluations_fit(seconds: float, epoch: float, evaluation: float, expected: tuple[int, int]) -> None:
    assert plan(seconds, epoch, evaluation) == expected


@pytest.mark.parametrize("seconds", [60, 600, 1800])
@pytest.mark.parametrize("epoch", [0.3, 2, 17])
@pytest.mark.parametrize("evaluation", [0.1, 1, 9])
def test_the_time_is_used_and_kept(seconds: float, epoch: float, evaluation: float) -> None:
    epochs, every = plan(seconds, epoch, evaluation)
    evaluations = math.ceil(epochs / every)
    assert 1 <= evaluations <= MOST_EVALUATIONS
    assert epochs * epoch + evaluations * evaluation <= seconds
    assert (epochs + 1) * epoch + (evaluations + 1) * evaluation > 0.75 * seconds


def test_the_run_is_the_one_with_the_numbers(small_experiment: config.Experiment, tmp_path: Path) -> None:
    """Timing changes neither weights nor draws, and a resumed run times nothing again."""
    minutes = 0.02
    budget = changed(small_experiment, f"training.minutes={minutes}", "training.epochs=100000")
    run = api.train(budget, out=tmp_path / "timed").folder
    stored = load_experiment(run / "experiment.yaml", environ={}).experiment
    training = stored.training
    assert training.minutes is None
    assert 1 <= training.epochs < 100_000
    assert math.ceil(training.epochs / training.validate_every) <= MOST_EVALUATIONS
    said = f"epochs: {training.epochs}, evaluated every {training.validate_every} (for 0.02 minutes: "
    assert said in (run / "train.log").read_text()
    assert_same_runs(api.train(stored, out=tmp_path / "again").folder, run)
    assert resumed(run, []).experiment == stored
    with pytest.raises(SettingsError, match=r"training\.minutes cannot change in a run"):
        resumed(run, ["training.minutes=9"])


def test_model_and_random_state_stay_as_they_were(small_experiment: config.Experiment) -> None:
    stages = "backbone.trainable=[{blocks: 1}, {blocks: all, from_epoch: 1}]"
    norm = ("backbone.blocks=[0, 1]", "backbone.tap_norm=batch_norm")
    experiment = changed(small_experiment, stages, *norm, "data.augmentation.photometric=0.5")
    model = prepare(experiment, check=False).model.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    learning = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    random = torch.get_rng_state()
    train, measured = (read_records(experiment.data, split, seed=0) for split in ("train", "val"))
    short = changed(experiment, "training.minutes=0.01")
    assert find_epochs(model, short, train, measured, CPU, "bf16")[0].epochs >= 1
    assert_same_tensors(before, dict(model.state_dict()))
    assert torch.equal(random, torch.get_rng_state())
    assert not model.training
    assert [name for name, parameter in model.named_parameters() if parameter.requires_grad] == learning
    assert all(parameter.grad is None for parameter in model.parameters())
