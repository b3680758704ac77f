"""Training on kept features is the training that sees the pictures: the same losses, step by step."""

import json
from pathlib import Path
from typing import Any

import pytest

from dinotune import api, config
from tests.class_folders import draw_class_folders
from tests.feature_cache.cached_runs import CONVNEXT, CUTS, VIT, experiment, with_cache
from tests.mask_folders import draw_mask_folder
from tests.training.small_runs import assert_killed_ends_the_same

DETECTORS = [("faster_rcnn", cut) for cut in CUTS] + [("deformable_detr", "all frozen")]

ONE_BY_ONE = {"training.batch_size": "1", "training.epochs": "3"}
"""Sums depend in their last digits on what else is in a batch, and proposals that are nearly equal change places by it."""


def losses(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if line["kind"] == "step"]


def scores(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line["val_loss"] for line in lines if line["kind"] == "epoch"]


def assert_same(plain: config.Experiment, folder: Path) -> None:
    live = api.train(plain, out=folder / "live").folder
    kept = api.train(with_cache(plain, folder / "cache"), out=folder / "kept").folder
    assert len(losses(live)) >= 50
    assert losses(kept) == pytest.approx(losses(live), rel=1e-5, abs=1e-5)
    assert scores(kept) == pytest.approx(scores(live), rel=1e-4)
    third = len(losses(live)) // 3
    assert sum(losses(live)[-third:]) < sum(losses(live)[:third]), "nothing was learnt"


@pytest.mark.parametrize(("head", "cut"), DETECTORS)
def test_detectors_learn_the_same(head: str, cut: str, shapes: Path, tmp_path: Path) -> None:
    assert_same(experiment(shapes, head, {**CUTS[cut], **ONE_BY_ONE}), tmp_path)


@pytest.mark.parametrize("cut", CUTS)
def test_segmenters_learn_the_same(cut: str, tmp_path: Path) -> None:
    folder = draw_mask_folder(tmp_path / "scenes", train=18, val=4)
    assert_same(experiment(folder, "linear_segmenter", CUTS[cut]), tmp_path)


def test_masks_of_objects_are_kept_too(shapes: Path, tmp_path: Path) -> None:
    assert_same(experiment(shapes, "instance_mask_decoder", ONE_BY_ONE), tmp_path)


@pytest.mark.parametrize("backbone", [VIT, CONVNEXT], ids=["vit", "convnext"])
def test_classifiers_learn_the_same(backbone: dict[str, Any], tmp_path: Path) -> None:
    folder = draw_class_folders(tmp_path / "classes", train=7, val=2)
    assert_same(experiment(folder, "linear_classifier", backbone=backbone), tmp_path)


def test_pictures_are_read_again_once_more_learns(shapes: Path, tmp_path: Path) -> None:
    stages = {"backbone.trainable": "[{blocks: 2, from_epoch: 1}]", **ONE_BY_ONE}
    assert_same(experiment(shapes, "faster_rcnn", stages), tmp_path)
    log = (tmp_path / "kept/train.log").read_text()
    assert "from epoch 2 on more learns, and pictures are read again" in log


@pytest.mark.parametrize("change", [{"storage": "bf16"}, {"storage": "int8"}, {"in_memory": False}], ids=str)
def test_smaller_storage_learns_nearly_the_same(change: dict[str, Any], shapes: Path, tmp_path: Path) -> None:
    plain = experiment(shapes, "faster_rcnn", {"training.epochs": "3"})
    live = losses(api.train(plain, out=tmp_path / "live").folder)
    kept = losses(api.train(with_cache(plain, tmp_path / "cache", **change), out=tmp_path / "kept").folder)
    assert kept == pytest.approx(live, rel=0.05)


def test_processes_bring_the_same_from_the_disk(shapes: Path, tmp_path: Path) -> None:
    plain = experiment(shapes, "instance_mask_decoder", {"training.epochs": "2"})
    cached = with_cache(plain, tmp_path / "cache", in_memory=False)
    alone = api.train(cached, out=tmp_path / "alone").folder
    two = cached.model_copy(update={"data": cached.data.model_copy(update={"workers": 2})})
    assert losses(api.train(two, out=tmp_path / "two").folder) == losses(alone)


def test_a_second_run_computes_nothing(shapes: Path, tmp_path: Path) -> None:
    wanted = with_cache(experiment(shapes, "faster_rcnn", {"training.epochs": "2"}), tmp_path / "cache")
    first, second = (api.train(wanted, out=tmp_path / name).folder for name in ("first", "second"))
    assert losses(first) == losses(second)
    assert "to compute" in (first / "train.log").read_text()
    assert "to compute" not in (second / "train.log").read_text()


def test_a_killed_run_goes_on_with_the_same_features(shapes: Path, tmp_path: Path) -> None:
    settings = {"training.epochs": "3", "training.checkpoint_every_steps": "2"}
    wanted = with_cache(experiment(shapes, "faster_rcnn", settings), tmp_path / "cache")
    run = api.train(wanted, out=tmp_path / "run").folder
    assert_killed_ends_the_same(wanted, run, tmp_path)


def test_a_killed_run_goes_on_with_weights_from_elsewhere(shapes: Path, tmp_path: Path) -> None:
    """Those of a frozen random backbone are in the run's checkpoint alone."""
    source = api.train(
        experiment(shapes, "faster_rcnn", {"backbone.trainable": "all", "training.epochs": "1"}),
        out=tmp_path / "source",
    )
    settings = {
        "training.epochs": "3",
        "training.checkpoint_every_steps": "2",
        "training.initialize_from": str(source.folder),
    }
    wanted = with_cache(experiment(shapes, "faster_rcnn", settings), tmp_path / "cache")
    run = api.train(wanted, out=tmp_path / "run").folder
    assert_killed_ends_the_same(wanted, run, tmp_path)
    assert "to compute" not in (tmp_path / "killed/train.log").read_text()


def test_a_killed_run_goes_on_after_its_features_have_ended(shapes: Path, tmp_path: Path) -> None:
    stages = {
        "backbone.trainable": "[{blocks: 2, from_epoch: 1}]",
        "training.epochs": "3",
        "training.checkpoint_every_steps": "2",
    }
    wanted = with_cache(experiment(shapes, "faster_rcnn", stages), tmp_path / "cache")
    run = api.train(wanted, out=tmp_path / "run").folder
    assert_killed_ends_the_same(wanted, run, tmp_path)
    assert len([path for path in (tmp_path / "cache").iterdir() if path.is_dir()]) == 2
