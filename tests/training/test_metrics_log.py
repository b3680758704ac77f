"""What a run writes about itself: JSON lines, CSV, TensorBoard, the log and the best metrics."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]

from dinotune import api, config
from dinotune.training.metrics_log import MetricsLog
from tests.training.small_runs import assert_same_runs, batch_sizes

LOSSES = {"loss_objectness", "loss_rpn_box", "loss_class", "loss_box", "loss"}


def lines_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_line_per_step_and_epoch(finished_run: Path) -> None:
    lines = lines_of(finished_run)
    assert [line["kind"] for line in lines] == (["step"] * 6 + ["epoch"]) * 2
    steps = [line for line in lines if line["kind"] == "step"]
    assert [(line["epoch"], line["batch"], line["step"]) for line in steps] == [
        (step // 6, step % 6, step + 1) for step in range(12)
    ]
    measured = {"learning_rate", "gradient_norm", "pictures_per_second", "memory_gb"}
    for line in steps:
        assert line.keys() == {"kind", "epoch", "batch", "step", *LOSSES, *measured}
        assert line["loss"] == pytest.approx(sum(line[name] for name in LOSSES - {"loss"}))
        assert 0.1 < line["memory_gb"] < 64
    for line in lines:
        if line["kind"] == "epoch":
            names = {f"{split}_{name}" for split in ("train", "val") for name in LOSSES}
            assert line.keys() >= names | {"AP", "AP50", "AP75", "AR100", "seconds", "step"}


def test_epoch_means_are_over_pictures(finished_run: Path, small_experiment: config.Experiment) -> None:
    """18 pictures in 2 shapes make batches of 4 and smaller ones, which count less."""
    sizes = batch_sizes(small_experiment)
    assert set(sizes) > {4}
    lines = lines_of(finished_run)[:7]
    for name in LOSSES:
        mean = sum(line[name] * size for line, size in zip(lines, sizes, strict=False)) / 18
        assert lines[6][f"train_{name}"] == pytest.approx(mean), name


def test_csv_holds_the_epochs(finished_run: Path) -> None:
    with (finished_run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    epochs = [line for line in lines_of(finished_run) if line["kind"] == "epoch"]
    for row, line in zip(rows, epochs, strict=True):
        assert row == {name: "" if value is None else str(value) for name, value in line.items() if name != "kind"}


def test_tensorboard_holds_the_numbers(finished_run: Path) -> None:
    events = EventAccumulator(str(finished_run / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    lines = lines_of(finished_run)
    for tag, kind, name in (
        ("train/loss", "step", "loss"),
        ("train/learning_rate", "step", "learning_rate"),
        ("epoch/val_loss", "epoch", "val_loss"),
        ("epoch/AP50", "epoch", "AP50"),
    ):
        expected = [(line["step"], pytest.approx(line[name], rel=1e-6)) for line in lines if line["kind"] == kind]
        assert [(event.step, event.value) for event in events.Scalars(tag)] == expected, tag


def test_the_log_names_everything(finished_run: Path) -> None:
    log = (finished_run / "train.log").read_text()
    for part in (
        f"run folder: {finished_run}",
        "device: cpu, precision: fp32",
        "18 pictures, 49 boxes, 3 classes",
        "6 pictures, 10 boxes, 3 classes",
        "backbone tiny-dinov3: random weights, seed 0",
        "epoch 1/2  train ",
        "epoch 2/2  train ",
        "best loss and AP",
    ):
        assert part in log, part
    (environment,) = json.loads((finished_run / "environment.json").read_text())
    assert environment["packages"]["torch"]
    assert (environment["device"], environment["precision"]) == ("cpu", "fp32")


def test_metrics_json_is_the_best_evaluation(finished_run: Path) -> None:
    metrics = api.Run(finished_run).metrics
    epochs = [line for line in lines_of(finished_run) if line["kind"] == "epoch"]
    best = max(epochs, key=lambda line: line["AP"])
    assert (metrics["AP"], metrics["epoch"]) == (best["AP"], best["epoch"])
    evaluation = json.loads((finished_run / "evaluations" / "data-val-best_AP" / "metrics.json").read_text())
    assert metrics == {"epoch": best["epoch"], **evaluation}
    assert metrics.keys() >= {"per_class", "losses", "images", "unreadable"}


def test_experiment_yaml_trains_the_same_run_again(finished_run: Path, tmp_path: Path) -> None:
    again = api.train(finished_run / "experiment.yaml", out=str(tmp_path / "again")).folder
    assert_same_runs(finished_run, again)
    assert (again / "experiment.yaml").read_bytes() == (finished_run / "experiment.yaml").read_bytes()


def test_lines_of_repeated_work_are_cut_off(tmp_path: Path) -> None:
    first = MetricsLog(tmp_path)
    for step in range(1, 4):
        first.step({"epoch": 0, "step": step, "loss": float("nan") if step == 2 else 1.0})
    first.epoch({"epoch": 0, "step": 3, "AP": None})
    first.step({"epoch": 1, "step": 4, "loss": 2.0})
    first.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "step", "epo')
    second = MetricsLog(tmp_path, keep_lines=4, step=3)
    second.epoch({"epoch": 1, "step": 6, "AP": 0.5, "AR": 0.25})
    second.close()
    assert [(line["kind"], line["step"]) for line in lines_of(tmp_path)] == [
        ("step", 1), ("step", 2), ("step", 3), ("epoch", 3), ("epoch", 6),
    ]  # fmt: skip
    assert [line.get("loss") for line in lines_of(tmp_path)] == [1.0, None, 1.0, None, None]
    assert (tmp_path / "metrics.csv").read_text() == "epoch,step,AP,AR\n0,3,,\n1,6,0.5,0.25\n"
