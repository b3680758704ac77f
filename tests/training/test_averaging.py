"""The mean of the learning weights: its numbers, who is in it, and that evaluations and files for use take it."""

from pathlib import Path

import pytest
import torch

from dinotune import api, config
from dinotune.build import build_model
from dinotune.checkpoints import AVERAGED_KEY, read_checkpoint
from dinotune.data.records import LabelSet
from dinotune.model import Model
from dinotune.training.averaging import AveragedWeights
from tests.training.small_runs import assert_same_tensors, changed, last_state, metrics

NAME = "head.roi_heads.box_predictor.cls_score.bias"


def model_of(experiment: config.Experiment, *overrides: str) -> Model:
    return build_model(changed(experiment, *overrides), LabelSet(("a", "b"), (1, 2)))[0]


@pytest.mark.parametrize("decay", [0.15, 0.9])
def test_the_decay_grows_to_its_full_value(small_experiment: config.Experiment, decay: float) -> None:
    model = model_of(small_experiment)
    averaged = AveragedWeights(model, decay)
    averaged.join()
    weight, mean = model.get_parameter(NAME), model.get_parameter(NAME).detach().clone()
    for step in range(4):
        weight.data += step + 1
        averaged.update()
        now = min(decay, (1 + step) / (10 + step))
        mean = now * mean + (1 - now) * weight.detach()
        torch.testing.assert_close(averaged.weights[NAME], mean)


def test_frozen_weights_are_not_copied_and_later_stages_join_as_they_are(small_experiment: config.Experiment) -> None:
    model = model_of(small_experiment, "backbone.trainable=[{blocks: 1, from_epoch: 1}]")
    averaged = AveragedWeights(model, 0.9)
    averaged.join()
    assert averaged.weights.keys() == {name for name, _ in model.named_parameters() if name.startswith("head.")}
    averaged.update()
    model.backbone.set_epoch(1)
    averaged.join()
    added = {name for name in averaged.weights if name.startswith("backbone.")}
    assert added == {name for name, p in model.backbone.named_parameters(prefix="backbone") if p.requires_grad}
    assert len(added) > 10
    for name in added:
        assert torch.equal(averaged.weights[name], model.get_parameter(name))


def test_the_model_gets_its_own_weights_back(small_experiment: config.Experiment) -> None:
    model = model_of(small_experiment)
    averaged = AveragedWeights(model, 0.9)
    averaged.join()
    model.get_parameter(NAME).data += 1
    own = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    means = {name: tensor.clone() for name, tensor in averaged.weights.items()}

    def fail_inside() -> None:
        with averaged.in_model():
            assert torch.equal(model.get_parameter(NAME), means[NAME])
            assert not torch.equal(own[NAME], means[NAME])
            raise KeyError

    with pytest.raises(KeyError):
        fail_inside()
    assert_same_tensors(own, dict(model.state_dict()))
    assert_same_tensors(means, averaged.weights)


def test_evaluations_and_files_take_the_mean(small_experiment: config.Experiment, tmp_path: Path) -> None:
    """`last.ckpt` holds both, and gives the mean to who uses it; statistics of BatchNorms are the newest."""
    overrides = ("training.ema_decay=0.99", "training.epochs=1", "backbone.blocks=[0, 1]")
    run = api.train(changed(small_experiment, *overrides, "backbone.tap_norm=batch_norm"), out=tmp_path / "run").folder
    last = last_state(run)
    raw = {name.removeprefix("model."): tensor for name, tensor in last["state_dict"].items()}
    means = last[AVERAGED_KEY]["weights"]
    assert last[AVERAGED_KEY]["steps"] == 6
    assert not torch.equal(raw[NAME], means[NAME])
    for name in ("last.ckpt", "best_AP.safetensors", "best_loss.safetensors", "epoch_1.safetensors"):
        assert_same_tensors(read_checkpoint(run / "checkpoints" / name)[0], raw | means)
    assert {name for name in raw if "running" in name} & means.keys() == set()
    measured = api.evaluate(run / "checkpoints" / "last.ckpt")
    (epoch,) = (line for line in metrics(run) if line["kind"] == "epoch")
    assert measured["losses"]["loss"] == pytest.approx(epoch["val_loss"], rel=1e-6)


def test_the_mean_changes_no_step(small_experiment: config.Experiment, finished_run: Path, tmp_path: Path) -> None:
    run = api.train(changed(small_experiment, "training.ema_decay=0.5"), out=tmp_path / "run").folder
    steps, others = ([line for line in metrics(folder) if line["kind"] == "step"] for folder in (run, finished_run))
    assert steps == others
    assert_same_tensors(last_state(run)["state_dict"], last_state(finished_run)["state_dict"])
