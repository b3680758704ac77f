"""Training on a GPU in every precision, and resuming there."""

import math
from pathlib import Path

import pytest

from dinotune import api, config
from tests.training.small_runs import changed, metrics


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_every_precision_trains_and_resumes(
    small_experiment: config.Experiment, tmp_path: Path, precision: str
) -> None:
    settings = ("device=cuda", f"training.precision={precision}", "training.epochs=1")
    run = api.train(changed(small_experiment, *settings), out=tmp_path / "run").folder
    api.resume(run, ["training.epochs=2"])
    epochs = [line for line in metrics(run) if line["kind"] == "epoch"]
    assert [line["epoch"] for line in epochs] == [0, 1]
    assert all(math.isfinite(line["train_loss"]) for line in epochs)
