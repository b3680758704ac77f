"""Runs that several tests compare with."""

import shutil
from pathlib import Path

import pytest

from dinotune import api, config
from dinotune.config.loading import dump_experiment
from dinotune.files import write_text
from tests.training.small_runs import changed


@pytest.fixture(scope="session")
def accumulated_run(small_experiment: config.Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the small experiment's run with two batches per step: three steps per epoch."""
    experiment = changed(small_experiment, "training.accumulate=2")
    return api.train(experiment, out=tmp_path_factory.mktemp("accumulated") / "run").folder


@pytest.fixture
def page(small_experiment: config.Experiment, tmp_path: Path) -> Path:
    """The small experiment as a file."""
    write_text(tmp_path / "experiment.yaml", dump_experiment(small_experiment))
    return tmp_path / "experiment.yaml"


@pytest.fixture
def run_copy(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, for a test to change."""
    return shutil.copytree(finished_run, tmp_path / "copy")
