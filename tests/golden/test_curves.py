"""Training goes as it went: the losses of the first steps of every head are the stored ones."""

import json
from pathlib import Path

import pytest

from dinotune.config.head import HEAD_TASKS
from dinotune.config.loading import load_experiment
from tests.class_folders import draw_class_folders
from tests.golden.curves import STORED, curve, experiment_of
from tests.small_parts import HEADS

TOLERANCE = 0.01
"""Relative; other processors round otherwise, and every step builds on the one before."""

CURVES: dict[str, list[float]] = json.loads(STORED.read_text())


def test_every_head_has_a_curve() -> None:
    assert CURVES.keys() == HEADS.keys()


@pytest.mark.parametrize("head", HEADS)
def test_losses_are_the_stored_ones(head: str, shapes: Path, tmp_path: Path) -> None:
    data = draw_class_folders(tmp_path / "data", train=6, val=2) if HEAD_TASKS[head] == "classification" else shapes
    found = curve(experiment_of(head, data), tmp_path / "run")
    assert found == pytest.approx(CURVES[head], rel=TOLERANCE, abs=1e-3)


def test_a_slightly_different_training_is_told_apart(shapes: Path, tmp_path: Path) -> None:
    experiment = load_experiment(experiment_of("detr", shapes), (), ["training.learning_rate=7e-4"], {}).experiment
    assert curve(experiment, tmp_path / "run") != pytest.approx(CURVES["detr"], rel=TOLERANCE, abs=1e-3)
