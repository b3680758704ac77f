"""A run that was stopped anywhere and resumed ends exactly where an uninterrupted one does."""

import signal
from pathlib import Path

import pytest

from dinotune import api, config
from dinotune.config.loading import dump_experiment
from dinotune.files import write_text
from tests.training.small_runs import assert_same_runs, changed, ended_run, metrics, run_state

Kill = tuple[str, int, tuple[int, int, bool]]

KILLS: dict[str, list[Kill]] = {
    "in the middle of an epoch": [("batch", 9, (1, 2, False))],
    "in the evaluation": [("evaluating", 2, (0, 6, True))],
    "in the evaluation, and again when it is made up for": [
        ("evaluating", 2, (0, 6, True)),
        ("evaluating", 2, (0, 6, True)),
    ],
    "in the evaluation, and again right after it was made up for": [
        ("evaluating", 2, (0, 6, True)),
        ("saved", 1, (1, 0, False)),
    ],
    "right after the checkpoint at the end of an epoch": [("saved", 4, (1, 0, False))],
    "in the middle, then in the evaluation": [("batch", 9, (1, 2, False)), ("evaluating", 2, (1, 6, True))],
    "in the last evaluation": [("evaluating", 4, (1, 6, True))],
    "after everything": [("saved", 8, (2, 0, False))],
}
"""When each kill comes, and the epoch, next batch and pending evaluation that `last.ckpt` then holds.

Each epoch has 6 batches, 4 saves (steps 2, 4 and 6, and after the evaluation) and 2 evaluation batches.
"""


@pytest.fixture
def page(small_experiment: config.Experiment, tmp_path: Path) -> Path:
    write_text(tmp_path / "experiment.yaml", dump_experiment(small_experiment))
    return tmp_path / "experiment.yaml"


@pytest.mark.parametrize("kills", KILLS.values(), ids=KILLS)
def test_kill_9(page: Path, finished_run: Path, tmp_path: Path, kills: list[Kill]) -> None:
    killed = tmp_path / "killed"
    words = ["train", str(page), "--out", str(killed)]
    for moment, count, position in kills:
        code, output = ended_run(words, moment, count)
        assert code == -signal.SIGKILL, output
        state = run_state(killed)
        assert (state["epoch"], state["next_batch"], state["evaluation_pending"]) == position
        words = ["train", "--resume", str(killed)]
    api.resume(killed)
    assert_same_runs(finished_run, killed)


def test_kill_9_with_workers_and_accumulated_gradients(small_experiment: config.Experiment, tmp_path: Path) -> None:
    """The kill comes three batches after the last checkpoint, between the two halves of a step."""
    experiment = changed(small_experiment, "data.workers=2", "training.accumulate=2")
    write_text(tmp_path / "experiment.yaml", dump_experiment(experiment))
    whole, killed = api.train(experiment, out=tmp_path / "whole").folder, tmp_path / "killed"
    code, output = ended_run(["train", str(tmp_path / "experiment.yaml"), "--out", str(killed)], "batch", 11)
    assert code == -signal.SIGKILL, output
    state = run_state(killed)
    assert (state["epoch"], state["next_batch"]) == (1, 2)
    assert len(metrics(killed)) > state["metrics_lines"], "work after the checkpoint must be cut back"
    api.resume(killed)
    assert_same_runs(whole, killed)
