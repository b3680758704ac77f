"""What all tests share: the place of real data, one thread per process, no settings from the environment, small runs."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import shape_checks

if TYPE_CHECKING:
    from dinotune import config

shape_checks.install()

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read by torch when a test loads it, and by the processes tests start


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real data sets; tests that need it are skipped where it is absent."""
    beside_repository = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("DINOTUNE_TEST_DATA", beside_repository))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set DINOTUNE_TEST_DATA to its folder")
    return folder


@pytest.fixture(autouse=True)
def _no_settings_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("DINOTUNE__")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """18 training, 6 validation and 3 test pictures of 64 px with three classes; tests must not change them."""
    from dinotune.data.shapes import draw_shapes

    folder = tmp_path_factory.mktemp("shapes") / "data"
    return draw_shapes(folder, train=18, val=6, test=3, sizes_hw=((64, 64), (64, 96)))


@pytest.fixture(scope="session")
def small_experiment(shapes: Path) -> "config.Experiment":
    """Two blocks of width 32 that learn, and a small Faster R-CNN, for two epochs of six steps on the CPU."""
    from dinotune import config

    return config.Experiment.model_validate(
        {
            "name": "small",
            "device": "cpu",
            "backbone": {
                "id": "tiny-dinov3",
                "tiny": {"width": 32, "depth": 2, "patch_size": 16},
                "trainable": {"blocks": "all"},
            },
            "head": {"kind": "faster_rcnn", "channels": 16, "hidden": 32, "stride_factors": [0.5, 1], "slots": 20},
            "data": {"root": str(shapes), "size": 64, "workers": 0},
            "training": {
                "epochs": 2,
                "batch_size": 4,
                "warmup_steps": 3,
                "learning_rate": 1e-3,
                "log_every": 1,
                "checkpoint_every": 1,
                "checkpoint_every_steps": 2,
            },
        }
    )


@pytest.fixture(scope="session")
def finished_run(small_experiment: "config.Experiment", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the small experiment's run, trained once; tests must not change it."""
    from dinotune import api

    return api.train(small_experiment, out=tmp_path_factory.mktemp("finished") / "run").folder
