"""What a step does to the weights: stages, clipping, accumulation, optimisers, precisions."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dinotune import api, config
from dinotune.build import build_model
from dinotune.checkpoints import read_checkpoint
from dinotune.errors import SettingsError
from dinotune.heads.faster_rcnn import FasterRcnnHead
from dinotune.types import Features, Losses, Targets
from tests.training.small_runs import changed, metrics

ONE_STEP = ("training.epochs=1", "training.warmup_steps=0", "data.train.limit=4", "data.resize=square")
PLAIN_SGD = ("training.optimizer={kind: sgd, momentum: 0}", "training.weight_decay=0", "training.learning_rate=1")


def trained(experiment: config.Experiment, folder: Path, *overrides: str, file: str = "last.ckpt") -> dict[str, Tensor]:
    """Weights after a run with changed settings."""
    run = api.train(changed(experiment, *overrides), out=folder)
    return read_checkpoint(run.folder / "checkpoints" / file)[0]


def initial(run: Path) -> dict[str, Tensor]:
    """Weights that a run began with."""
    _, description = read_checkpoint(run / "checkpoints" / "last.ckpt")
    return build_model(description.experiment, description.labels)[0].state_dict()


def moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_a_stage_learns_from_its_epoch_on(small_experiment: config.Experiment, tmp_path: Path) -> None:
    stages = "backbone.trainable=[{blocks: 1, from_epoch: 1, learning_rate: 0.001}]"
    run = api.train(changed(small_experiment, stages, "training.weight_decay=0.5"), out=tmp_path / "run").folder
    states = [initial(run), *(read_checkpoint(run / f"checkpoints/epoch_{n}.safetensors")[0] for n in (1, 2))]
    first, second = moved(states[0], states[1]), moved(states[1], states[2])
    head = {name for name in states[0] if name.startswith("head.")}
    assert {name for name in first if name.startswith("backbone.")} == set(), "frozen: neither steps nor decay"
    # Where no box is matched all day the weights of a rare branch rest.
    assert len(first & head) > 0.9 * len(head)
    learning = {n for n in states[0] if n.startswith(("backbone.encoder.blocks.1.", "backbone.encoder.norm."))}
    assert {name for name in second if name.startswith("backbone.")} == learning
    count = sum(states[0][name].numel() for name in learning)
    assert f"epoch 2: {count:,} parameters of the backbone learn from here on" in (run / "train.log").read_text()


@pytest.mark.parametrize(
    "overrides",
    [
        ["training.optimizer=sgd", "training.learning_rate=0.01"],
        ["training.precision=bf16"],
        ["training.clip=0", "training.schedule={kind: steps, epochs: [1]}"],
        ["backbone.blocks=[0, 1]", "backbone.tap_norm=batch_norm", "data.resize=square"],
    ],
)
def test_each_way_of_training_learns(small_experiment: config.Experiment, tmp_path: Path, overrides: list[str]) -> None:
    """On four pictures, ten steps halve no loss, but lower it."""
    settings = ("data.train.limit=4", "data.augmentation=none", "training.epochs=10", "training.validate_every=10")
    run = api.train(changed(small_experiment, *settings, *overrides), out=tmp_path / "run").folder
    losses = [line["loss"] for line in metrics(run) if line["kind"] == "step"]
    assert losses[-1] < losses[0] - 0.1
    assert len(moved(initial(run), read_checkpoint(run / "checkpoints" / "last.ckpt")[0])) > 50
    (environment,) = json.loads((run / "environment.json").read_text())
    assert environment["precision"] == ("bf16" if "training.precision=bf16" in overrides else "fp32")


def test_norms_of_taps_learn_from_every_batch(small_experiment: config.Experiment, tmp_path: Path) -> None:
    """The first epoch included: backbones are built in eval mode."""
    settings = ("training.epochs=2", "backbone.blocks=[0, 1]", "backbone.tap_norm=batch_norm")
    weights = trained(small_experiment, tmp_path / "run", *settings)
    assert weights["backbone.tap_norms.0.num_batches_tracked"] == 12


def test_fp16_needs_a_gpu(small_experiment: config.Experiment, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match='"fp16" needs a GPU; use "fp32" or "bf16"'):
        api.train(changed(small_experiment, "training.precision=fp16"), out=tmp_path / "run")


def test_gradients_are_clipped_together(small_experiment: config.Experiment, tmp_path: Path) -> None:
    """One step of plain SGD with rate 1 moves all weights together by the norm of the clipped gradients."""
    after = trained(small_experiment, tmp_path / "run", *ONE_STEP, *PLAIN_SGD, "training.clip=0.001")
    before = initial(tmp_path / "run")
    change = torch.stack([(after[n] - before[n]).double().norm() for n in moved(before, after)]).norm()
    assert change.item() == pytest.approx(0.001, rel=1e-2)
    (step,) = (line for line in metrics(tmp_path / "run") if line["kind"] == "step")
    assert step["gradient_norm"] > 0.1, "the norm before clipping is logged"


def test_two_half_batches_are_one_batch(
    small_experiment: config.Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a loss that is a plain mean over pictures; torchvision's samples anchors and divides by their number."""

    def mean_over_pictures(self: FasterRcnnHead, features: Features, targets: Targets) -> Losses:
        level = self.pyramid(features)[0]
        sizes = torch.stack([boxes.sum() / 100 for boxes in targets.boxes])
        return Losses({"loss_mean": ((level.mean(dim=(1, 2, 3)) - sizes) ** 2).mean()})

    monkeypatch.setattr(FasterRcnnHead, "loss", mean_over_pictures)
    settings = (*ONE_STEP, *PLAIN_SGD, "training.clip=0", "training.learning_rate=0.01", "data.augmentation=none")
    whole = trained(small_experiment, tmp_path / "whole", *settings)
    halves = ("training.batch_size=2", "training.accumulate=2")
    accumulated = trained(small_experiment, tmp_path / "halves", *settings, *halves)
    changes = {n: (whole[n] - start).abs().max() for n, start in initial(tmp_path / "whole").items()}
    assert max(changes.values()) > 1e-3
    for name, weights in whole.items():
        torch.testing.assert_close(accumulated[name], weights, rtol=1e-4, atol=1e-6, msg=name)
    assert [line["step"] for line in metrics(tmp_path / "halves") if line["kind"] == "step"] == [1]


def test_rates_in_the_log_follow_the_schedule(small_experiment: config.Experiment, finished_run: Path) -> None:
    from dinotune.training.optimizer import learning_rate_factor

    training = small_experiment.training
    logged = [line["learning_rate"] for line in metrics(finished_run) if line["kind"] == "step"]
    factors: list[Any] = [learning_rate_factor(s, training=training, steps_per_epoch=6) for s in range(12)]
    assert logged == pytest.approx([training.learning_rate * factor for factor in factors])


def test_colours_are_changed_while_training(small_experiment: config.Experiment, tmp_path: Path) -> None:
    """The same weights lose differently on the same pictures in other colours, and twice the same in the same ones."""
    losses = []
    for number, strength in enumerate((0, 1, 1)):
        changes = (*ONE_STEP, "data.augmentation=none", f"data.augmentation.photometric={strength}")
        lines = metrics(api.train(changed(small_experiment, *changes), out=tmp_path / str(number)).folder)
        losses += [line["loss"] for line in lines if line["kind"] == "step"]
    plain, coloured, again = losses
    assert abs(plain - coloured) > 1e-3
    assert coloured == again
