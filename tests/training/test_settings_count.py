"""No setting of the training is read and ignored: each changes the optimiser, the rates, a decision or what a run leaves."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from dinotune import api, config
from dinotune.build import build_model
from dinotune.config.reference import settings_reference
from dinotune.data.records import LabelSet
from dinotune.files import write_json
from dinotune.training.early_stopping import why_stop
from dinotune.training.keeper import RunKeeper
from dinotune.training.optimizer import build_optimizer, learning_rate_factor
from dinotune.training.verdict import GoalMissedError, judge
from tests.training.small_runs import changed, metrics

SHOWN_BY_TESTS_OF_ITS_OWN = {"training.max_skipped_steps"}
"""It takes losses that are not finite, which `test_guards` makes."""

Observe = Callable[[config.Experiment, Path], Any]


def optimizer(experiment: config.Experiment, _: Path) -> str:
    return repr(build_optimizer(build_model(experiment, LabelSet(("a",), (1,)))[0], experiment.training))


def rates(experiment: config.Experiment, _: Path) -> list[float]:
    steps = range(10 * experiment.training.epochs)
    return [learning_rate_factor(step, training=experiment.training, steps_per_epoch=10) for step in steps]


def stop(experiment: config.Experiment, _: Path) -> str | None:
    """Two evaluations after the best AP; the loss falls by 1 each time."""
    values = [(0.1, 4.0), (0.3, 3.0), (0.2, 2.0), (0.25, 1.0)]
    lines = [{"epoch": epoch, "AP": ap, "val_loss": loss} for epoch, (ap, loss) in enumerate(values)]
    return why_stop(lines, experiment.training.early_stopping, experiment.scores.best)


def verdict(experiment: config.Experiment, folder: Path) -> str:
    assert experiment.training.must_reach is not None
    write_json(folder / "metrics.json", {"AP": 0.3, "AP50": 0.8, "AP75": 0.2})
    try:
        return judge(folder, experiment.training.must_reach, experiment.scores.goal, ())
    except GoalMissedError as failure:
        return str(failure)


def a_run(experiment: config.Experiment, folder: Path) -> Any:
    """Lines and files of two epochs of two steps, how often `last.ckpt` was written, the verdict, the algorithms."""
    saves = 0
    original = RunKeeper._save

    def save(self: RunKeeper, trainer: Any) -> None:
        nonlocal saves
        saves += 1
        original(self, trainer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunKeeper, "_save", save)
        run = api.train(experiment, out=folder / "run").folder
    files = sorted(path.name for path in (run / "checkpoints").iterdir())
    passed = "PASS" in (run / "train.log").read_text()
    return metrics(run), files, saves, passed, torch.are_deterministic_algorithms_enabled()


STEPS = ("training.schedule={kind: steps, epochs: [1]}",)
SGD = ("training.optimizer=sgd",)
PATIENT = ("training.early_stopping=2",)
GOAL = ("training.must_reach={metric: AP50, value: 0.9}",)
EFFECTS: dict[str, tuple[tuple[str, ...], str, Observe]] = {
    "training.epochs": ((), "3", rates),
    "training.minutes": ((), "0.001", a_run),
    "training.batch_size": ((), "2", a_run),
    "training.accumulate": ((), "2", a_run),
    "training.learning_rate": ((), "0.5", optimizer),
    "training.weight_decay": ((), "0.5", optimizer),
    "training.optimizer": ((), "adam", optimizer),
    "training.optimizer.betas": (("training.optimizer=adam",), "[0.5, 0.5]", optimizer),
    "training.optimizer.momentum": (SGD, "0.5", optimizer),
    "training.optimizer.nesterov": (SGD, "true", optimizer),
    "training.schedule": ((), "{kind: steps, epochs: [1]}", rates),
    "training.schedule.final_share": ((), "0.5", rates),
    "training.schedule.epochs": (STEPS, "[2]", rates),
    "training.schedule.factor": (STEPS, "0.5", rates),
    "training.warmup_steps": ((), "1", rates),
    "training.ema_decay": ((), "0.9", a_run),
    "training.initialize_from": ((), "{finished_run}", a_run),
    "training.clip": ((), "0.001", a_run),
    "training.precision": ((), "bf16", a_run),
    "training.validate_every": ((), "2", a_run),
    "training.early_stopping": ((), "2", stop),
    "training.early_stopping.patience": (PATIENT, "3", stop),
    "training.early_stopping.metric": (PATIENT, "loss", stop),
    "training.early_stopping.min_improvement": (PATIENT, "0.2", stop),
    "training.must_reach": ((), "{value: 0}", a_run),
    "training.must_reach.metric": (GOAL, "AP75", verdict),
    "training.must_reach.value": (GOAL, "0.5", verdict),
    "training.checkpoint_every": ((), "1", a_run),
    "training.checkpoint_every_steps": ((), "1", a_run),
    "training.log_every": ((), "2", a_run),
    "training.deterministic": ((), "true", a_run),
}


@pytest.fixture(scope="module")
def short(small_experiment: config.Experiment) -> config.Experiment:
    """Two steps in each of two epochs, logged all."""
    pictures = ("data.train.limit=8", "data.val.limit=2", "data.resize=square")
    return changed(
        small_experiment, *pictures, "training.checkpoint_every=none", "training.checkpoint_every_steps=none"
    )


@pytest.fixture(scope="module")
def plain_run(short: config.Experiment, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return a_run(short, tmp_path_factory.mktemp("plain"))


@pytest.fixture(autouse=True)
def _algorithms() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)


def test_no_setting_is_forgotten() -> None:
    known = {row.key for row in settings_reference() if row.key.startswith("training.")}
    assert set(EFFECTS) | SHOWN_BY_TESTS_OF_ITS_OWN == known


def test_what_is_observed_is_the_same_twice(short: config.Experiment, plain_run: Any, tmp_path: Path) -> None:
    assert a_run(short, tmp_path) == plain_run


@pytest.mark.parametrize("key", EFFECTS)
def test_the_setting_counts(
    short: config.Experiment, plain_run: Any, finished_run: Path, tmp_path: Path, key: str
) -> None:
    context, value, observe = EFFECTS[key]
    before = changed(short, *context)
    after = changed(before, f"{key}={value.replace('{finished_run}', str(finished_run))}")
    assert (plain_run if observe is a_run else observe(before, tmp_path)) != observe(after, tmp_path)
