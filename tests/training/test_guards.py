"""Losses that are not finite and pictures that cannot be read: named, skipped, counted, and limited."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dinotune import api, config
from dinotune.checkpoints import read_checkpoint
from dinotune.data.splits import read_records
from dinotune.errors import DataError, DinotuneError
from dinotune.heads.faster_rcnn import FasterRcnnHead
from dinotune.types import Features, Losses, Targets
from tests.training.small_runs import batch_sizes, changed, metrics, run_state
from tests.training.test_module import initial

Spoil = Callable[[FasterRcnnHead, Losses], Losses]


def nan_loss(_: FasterRcnnHead, losses: Losses) -> Losses:
    return Losses({**losses.terms, "loss_class": losses.terms["loss_class"] * float("nan")})


def infinite_gradient(head: FasterRcnnHead, losses: Losses) -> Losses:
    """A finite loss: the root's slope at 0 is infinite."""
    weight = next(head.parameters()).sum()
    return Losses({**losses.terms, "loss_root": torch.sqrt((weight - weight.detach()) ** 2)})


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> Callable[[Spoil, set[int]], None]:
    """Spoils the losses of the training batches with these numbers, counted over the whole run."""

    def install(how: Spoil, batches: set[int]) -> None:
        original, done = FasterRcnnHead.loss, 0

        def loss(self: FasterRcnnHead, features: Features, targets: Targets) -> Losses:
            nonlocal done
            losses = original(self, features, targets)
            if not torch.is_grad_enabled():
                return losses
            done += 1
            return how(self, losses) if done - 1 in batches else losses

        monkeypatch.setattr(FasterRcnnHead, "loss", loss)

    return install


def strict_lines(folder: Path) -> list[dict[str, Any]]:
    """Lines of `metrics.jsonl`, read by the rules of JSON, which knows no NaN."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line, parse_constant=refuse) for line in lines]


def pictures_in(line: str) -> set[str]:
    return {Path(path).name for path in line.split("pictures: ")[1].split(", ")}


@pytest.mark.parametrize(
    ("how", "reason"), [(nan_loss, "loss_class not finite"), (infinite_gradient, "gradients not finite")]
)
def test_a_spoilt_step_is_skipped_and_named(
    small_experiment: config.Experiment,
    shapes: Path,
    tmp_path: Path,
    spoil: Callable[[Spoil, set[int]], None],
    how: Spoil,
    reason: str,
) -> None:
    spoil(how, {1, 8})
    run = api.train(small_experiment, out=tmp_path / "run").folder
    said = [line for line in (run / "train.log").read_text().splitlines() if line.startswith("skipped step")]
    assert [line.split("; ")[0] for line in said] == [
        f"skipped step 1 of epoch 1 ({reason})",
        f"skipped step 2 of epoch 2 ({reason})",
    ]
    every = {path.name for path in (shapes / "images" / "train").iterdir()}
    assert all(1 <= len(pictures_in(line)) <= 4 and pictures_in(line) <= every for line in said)
    assert run_state(run)["skipped_steps"] == 2
    lines = strict_lines(run)
    assert [line["step"] for line in lines if line["kind"] == "epoch"] == [6, 12]
    weights = read_checkpoint(run / "checkpoints" / "last.ckpt")[0]
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())
    # The mean is over the pictures whose loss is known.
    sizes = batch_sizes(small_experiment)
    counted = [(line["loss"], sizes[line["batch"]]) for line in lines if line["kind"] == "step" and line["epoch"] == 0]
    (epoch,) = (line for line in lines if line["kind"] == "epoch" and line["epoch"] == 0)
    assert len(counted) == (5 if how is nan_loss else 6)
    mean = sum(loss * size for loss, size in counted) / sum(size for _, size in counted)
    assert epoch["train_loss"] == pytest.approx(mean)


@pytest.mark.parametrize("how", [nan_loss, infinite_gradient])
def test_a_skipped_step_moves_nothing(
    small_experiment: config.Experiment, tmp_path: Path, spoil: Callable[[Spoil, set[int]], None], how: Spoil
) -> None:
    """Neither gradients nor weight decay."""
    spoil(how, {0})
    one_step = ("training.epochs=1", "data.train.limit=4", "data.resize=square", "training.weight_decay=0.5")
    run = api.train(changed(small_experiment, *one_step), out=tmp_path / "run").folder
    weights = read_checkpoint(run / "checkpoints" / "last.ckpt")[0]
    assert all(torch.equal(weights[name], tensor) for name, tensor in initial(run).items())


@pytest.mark.parametrize(("accumulate", "position"), [(1, (0, 3)), (2, (0, 4))])
def test_too_many_skipped_steps_end_the_run(
    small_experiment: config.Experiment,
    tmp_path: Path,
    spoil: Callable[[Spoil, set[int]], None],
    accumulate: int,
    position: tuple[int, int],
) -> None:
    spoil(nan_loss, {0, 2})
    settings = ("training.max_skipped_steps=1", f"training.accumulate={accumulate}")
    with pytest.raises(
        DinotuneError, match=r"2 steps had a loss .* not finite .*lower training.learning_rate \(0.001\)"
    ):
        api.train(changed(small_experiment, *settings, "training.checkpoint_every_steps=none"), out=tmp_path / "run")
    state = run_state(tmp_path / "run")
    assert (state["epoch"], state["next_batch"], state["skipped_steps"]) == (*position, 2)
    api.resume(tmp_path / "run")
    assert [line["epoch"] for line in metrics(tmp_path / "run") if line["kind"] == "epoch"] == [0, 1]


Broken = tuple[config.Experiment, dict[Path, bytes]]


@pytest.fixture
def broken(small_experiment: config.Experiment, shapes: Path, tmp_path: Path) -> Broken:
    """The experiment on a copy of its data with three training pictures and a validation picture cut off; their bytes."""
    experiment = changed(small_experiment, f"data={shutil.copytree(shapes, tmp_path / 'data')}", "data.on_error=skip")
    train, val = (read_records(experiment.data, split, seed=0).paths for split in ("train", "val"))
    whole = {Path(path): Path(path).read_bytes() for path in (*train[[0, 7, 17]], val[2])}
    for file, content in whole.items():
        file.write_bytes(content[:150])
    return experiment, whole


def test_corrupt_pictures_are_named_once(broken: Broken, tmp_path: Path) -> None:
    """Three, seen in both epochs, do not pass a limit of four."""
    experiment, whole = broken
    run = api.train(changed(experiment, "data.max_skipped=4"), out=tmp_path / "run")
    log = (run.folder / "train.log").read_text()
    assert "4 × picture that cannot be read, left out: " in log, "by the check before"
    named = [line for line in log.splitlines() if line.startswith("left out")]
    assert [sum(str(file) in line for line in named) for file in whole] == [1, 1, 1, 1], log
    assert log.count("left out: ") - log.count(", left out: ") == 3
    assert log.count("left out of the evaluation: ") == 1
    assert len(run_state(run.folder)["corrupt"]) == 3
    assert run.metrics["images"] == 5
    (unreadable,) = run.metrics["unreadable"]
    assert str(list(whole)[3]) in unreadable


def test_a_batch_of_corrupt_pictures_alone(broken: Broken, tmp_path: Path) -> None:
    experiment, _ = broken
    run = api.train(changed(experiment, "training.batch_size=1", "training.epochs=1"), out=tmp_path / "run").folder
    assert len([line for line in metrics(run) if line["kind"] == "step"]) == 15
    assert run_state(run)["skipped_steps"] == 0


def test_broken_pictures_stop_before_a_run_folder_is_made(broken: Broken, tmp_path: Path) -> None:
    experiment, whole = broken
    for change, remedy in (("on_error=stop", "data.on_error=skip"), ("max_skipped=3", "data.max_skipped=4")):
        with pytest.raises(DataError, match=rf"(?s)4 x picture that cannot be read.*{remedy}") as error:
            api.train(changed(experiment, f"data.{change}"), out=tmp_path / "run")
        assert all(str(file) in str(error.value) for file in whole)
    assert not (tmp_path / "run").exists()


def test_too_many_corrupt_pictures_end_the_run(broken: Broken, tmp_path: Path) -> None:
    """They break while a run waits to be resumed, which checks nothing; it goes on once mended, or with a higher limit."""
    experiment, whole = broken
    cut = {file: file.read_bytes() for file in whole}
    write(whole)
    run = tmp_path / "run"
    api.train(changed(experiment, "data.max_skipped=2", "training.epochs=1"), out=run)
    write(cut)
    with pytest.raises(DataError, match=r"3 pictures could not be read.*--resume .* data\.max_skipped=30"):
        api.resume(run, ["training.epochs=2"])
    assert run_state(run)["epoch"] == 1
    unmended = shutil.copytree(run, tmp_path / "unmended")
    api.resume(unmended, ["training.epochs=2", "data.max_skipped=30"])
    write(whole)
    api.resume(run, ["training.epochs=2"])
    for folder in (run, unmended):
        assert [line["epoch"] for line in metrics(folder) if line["kind"] == "epoch"] == [0, 1]
    assert not json.loads((run / "metrics.json").read_text())["unreadable"]


def write(contents: dict[Path, bytes]) -> None:
    for file, content in contents.items():
        file.write_bytes(content)
