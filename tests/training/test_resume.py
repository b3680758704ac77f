"""A run that was killed and resumed ends exactly where an uninterrupted one does."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from dinotune import api, config
from dinotune.checkpoints import read_checkpoint
from dinotune.config.loading import dump_experiment
from dinotune.files import write_text

TIMES = {"seconds", "pictures_per_second", "memory_gb"}


def metrics(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in TIMES} for line in lines]


def kill_after(experiment: config.Experiment, folder: Path, batches: int, page: Path) -> None:
    write_text(page, dump_experiment(experiment))
    script = Path(__file__).with_name("killed_run.py")
    ended = subprocess.run([sys.executable, script, page, folder, str(batches)], capture_output=True, check=False)
    assert ended.returncode == -9, ended.stderr.decode()


def assert_same_runs(first: Path, second: Path) -> None:
    assert metrics(first) == metrics(second)
    for name in ("best_AP.safetensors", "best_loss.safetensors", "last.ckpt"):
        weights, description = read_checkpoint(first / "checkpoints" / name)
        others, other_description = read_checkpoint(second / "checkpoints" / name)
        assert weights.keys() == others.keys()
        assert all(torch.equal(weights[key], others[key]) for key in weights), name
        assert description == other_description
    states = [torch.load(run / "checkpoints" / "last.ckpt", weights_only=True) for run in (first, second)]
    assert states[0]["dinotune"] == states[1]["dinotune"]
    moments = [state["optimizer_states"][0]["state"] for state in states]
    assert all(torch.equal(moments[0][i]["exp_avg"], moments[1][i]["exp_avg"]) for i in moments[0])


@pytest.mark.parametrize(("workers", "accumulate", "batches"), [(0, 1, 9), (2, 2, 10)])
def test_killed_in_the_middle_of_an_epoch(
    small_experiment: config.Experiment, tmp_path: Path, workers: int, accumulate: int, batches: int
) -> None:
    """Six batches an epoch; the kill comes in the second epoch, after a checkpoint in its middle."""
    data = small_experiment.data.model_copy(update={"workers": workers})
    training = small_experiment.training.model_copy(update={"accumulate": accumulate, "epochs": 3})
    experiment = small_experiment.model_copy(update={"data": data, "training": training})
    whole = api.train(experiment, out=tmp_path / "whole").folder
    killed = tmp_path / "killed"
    kill_after(experiment, killed, batches, tmp_path / "experiment.yaml")
    state = json.loads(torch.load(killed / "checkpoints" / "last.ckpt", weights_only=True)["dinotune"]["state"])
    assert state["epoch"] == 1
    assert 0 < state["next_batch"] < 6
    assert len(metrics(killed)) > state["metrics_lines"]
    api.resume(killed)
    assert_same_runs(whole, killed)
