"""A run that was stopped anywhere and resumed ends exactly where an uninterrupted one does."""

import json
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from dinotune import api, config
from dinotune.config.loading import dump_experiment, load_experiment
from dinotune.errors import DataError, DinotuneError, SettingsError
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


def kill_and_finish(words: list[str], folder: Path, kills: Sequence[Kill]) -> None:
    """Train, killed once per entry and gone on with in the same folder, each time where the entry says; to the end."""
    for moment, count, position in kills:
        code, output = ended_run(words, moment, count)
        assert code == -signal.SIGKILL, output
        state = run_state(folder)
        assert (state["epoch"], state["next_batch"], state["evaluation_pending"]) == position
        words = ["train", "--resume", str(folder)]
    api.resume(folder)


@pytest.mark.parametrize("kills", KILLS.values(), ids=KILLS)
def test_kill_9(page: Path, finished_run: Path, tmp_path: Path, kills: list[Kill]) -> None:
    killed = tmp_path / "killed"
    kill_and_finish(["train", str(page), "--out", str(killed)], killed, kills)
    assert_same_runs(finished_run, killed)


def test_kill_9_with_workers_and_accumulated_gradients(
    small_experiment: config.Experiment, accumulated_run: Path, tmp_path: Path
) -> None:
    """The kill comes three batches after the last checkpoint, between the two halves of a step."""
    experiment = changed(small_experiment, "data.workers=2", "training.accumulate=2")
    write_text(tmp_path / "experiment.yaml", dump_experiment(experiment))
    killed = tmp_path / "killed"
    code, output = ended_run(["train", str(tmp_path / "experiment.yaml"), "--out", str(killed)], "batch", 11)
    assert code == -signal.SIGKILL, output
    state = run_state(killed)
    assert (state["epoch"], state["next_batch"]) == (1, 2)
    assert len(metrics(killed)) > state["metrics_lines"], "work after the checkpoint must be cut back"
    api.resume(killed)
    assert_same_runs(accumulated_run, killed)


KEPT = (
    "training.ema_decay=0.9",
    "training.batch_size=auto",
    "training.epochs=4",
    "training.early_stopping={patience: 1, metric: loss, min_improvement: 100}",
)
"""Averaged weights, a batch size that is found, and a stop after the second epoch, whose loss is not 100 lower."""


@pytest.fixture(scope="module")
def averaged_run(small_experiment: config.Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run with these settings that was never stopped."""
    return api.train(changed(small_experiment, *KEPT), out=tmp_path_factory.mktemp("averaged") / "run").folder


@pytest.mark.parametrize(
    "kills",
    [
        [("batch", 9, (1, 2, False))],
        [("evaluating", 2, (0, 6, True)), ("evaluating", 3, (1, 6, True))],
        [("saved", 8, (2, 0, False))],
    ],
    ids=["in the middle of an epoch", "in each evaluation", "after everything"],
)
def test_kill_9_with_averages_early_stopping_and_automatic_batch_size(
    page: Path, averaged_run: Path, tmp_path: Path, kills: list[Kill]
) -> None:
    killed = tmp_path / "killed"
    words = ["train", str(page), "--out", str(killed), *KEPT]
    for moment, count, position in kills:
        code, output = ended_run(words, moment, count)
        assert code == -signal.SIGKILL, output
        state = run_state(killed)
        assert (state["epoch"], state["next_batch"], state["evaluation_pending"]) == position
        words = ["train", "--resume", str(killed)]
    assert load_experiment(killed / "experiment.yaml", environ={}).experiment.training.batch_size == 4
    api.resume(killed)
    assert_same_runs(averaged_run, killed)
    assert [line["epoch"] for line in metrics(killed) if line["kind"] == "epoch"] == [0, 1]
    assert "stopped early after epoch 2" in (killed / "train.log").read_text()


def test_kill_9_between_stages(small_experiment: config.Experiment, page: Path, tmp_path: Path) -> None:
    """Before the evaluation after which more of the backbone learns, and after the next one."""
    settings = [
        "training.epochs=3",
        "training.accumulate=2",
        "training.ema_decay=0.9",
        "training.precision=bf16",
        "backbone.blocks=[0, 1]",
        "backbone.tap_norm=batch_norm",
        "backbone.trainable=[{blocks: 1, learning_rate: 1e-4}, {blocks: all, from_epoch: 1, learning_rate: 1e-5}]",
    ]
    whole = api.train(changed(small_experiment, *settings), out=tmp_path / "whole").folder
    killed = tmp_path / "killed"
    kills = [("saved", 2, (0, 6, True)), ("batch", 7, (2, 0, False))]
    kill_and_finish(["train", str(page), "--out", str(killed), *settings], killed, kills)
    assert_same_runs(whole, killed)
    assert "of the backbone learn from here on" in (killed / "train.log").read_text()


def test_more_epochs_go_on_where_the_run_ended(run_copy: Path, finished_run: Path) -> None:
    api.resume(run_copy)
    assert "all 2 epochs are done; go on with training.epochs=4" in (run_copy / "train.log").read_text()
    assert_same_runs(finished_run, run_copy)
    run = api.resume(str(run_copy), ["training.epochs=3", "training.log_every=2"])
    lines, before = metrics(run.folder), metrics(finished_run)
    assert lines[: len(before)] == before
    assert [(line["kind"], line["step"]) for line in lines[len(before) :]] == [
        ("step", 14), ("step", 16), ("step", 18), ("epoch", 18),
    ]  # fmt: skip
    assert (run.folder / "metrics.csv").read_text().count("\n") == 4
    stored = load_experiment(run_copy / "experiment.yaml", environ={}).experiment
    assert stored.training.epochs == 3, "the next --resume needs no training.epochs"
    api.resume(run_copy)
    assert metrics(run_copy) == lines


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["training.learning_rate=0.5"], r"training\.learning_rate cannot change in a run"),
        (["head.hidden=64", "data.augmentation.flip=0"], r"head\.hidden, data\.augmentation\.flip cannot change"),
        (["seed=1"], "seed cannot change"),
        (["training.epochs=1"], "training.epochs: 1, but the run is in epoch 2"),
        (["training.epoch=3"], 'did you mean "epochs"'),
    ],
)
def test_changes_that_are_refused(run_copy: Path, finished_run: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        api.resume(run_copy, overrides)
    for name in ("experiment.yaml", "metrics.jsonl", "checkpoints/last.ckpt"):
        assert (run_copy / name).read_bytes() == (finished_run / name).read_bytes(), name


@pytest.mark.parametrize("kept", [0, 100, 0.5, 0.999, None])
def test_a_damaged_or_missing_checkpoint(run_copy: Path, kept: float | None) -> None:
    file = run_copy / "checkpoints" / "last.ckpt"
    content = file.read_bytes()
    message = r"last\.ckpt: not a checkpoint of dinotune, or damaged"
    if kept is None:
        file.unlink()
        message = r"last\.ckpt does not exist.*dinotune train .*experiment\.yaml --out .* --overwrite"
    else:
        file.write_bytes(content[: int(kept if kept >= 1 else kept * len(content))])
    with pytest.raises(DinotuneError, match=message):
        api.resume(run_copy)
    with pytest.raises(SettingsError, match="no run folder"):
        api.resume(run_copy / "checkpoints")


def test_changed_training_data(small_experiment: config.Experiment, shapes: Path, tmp_path: Path) -> None:
    data = shutil.copytree(shapes, tmp_path / "data")
    experiment = changed(small_experiment, f"data={data}", "data.train.limit=4", "training.epochs=1")
    run = api.train(experiment, out=tmp_path / "run").folder
    annotations = data / "annotations" / "instances_train.json"
    before = annotations.read_text()
    truth = json.loads(before)
    for annotation in truth["annotations"]:
        annotation["bbox"][0] += 0.5
    annotations.write_text(json.dumps(truth))
    with pytest.raises(DataError, match="training pictures or boxes have changed"):
        api.resume(run, ["training.epochs=2"])
    annotations.write_text(before)
    data.rename(tmp_path / "moved")
    (tmp_path / "data").symlink_to(tmp_path / "moved")
    api.resume(run, ["training.epochs=2"])
    assert [line["epoch"] for line in metrics(run) if line["kind"] == "epoch"] == [0, 1]
