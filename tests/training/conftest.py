"""A drawn data set and an experiment small enough to train in seconds."""

from pathlib import Path

import pytest

from dinotune import config
from dinotune.data.shapes import draw_shapes


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """18 training and 6 validation pictures of 64 px."""
    folder = tmp_path_factory.mktemp("shapes") / "data"
    return draw_shapes(folder, train=18, val=6, test=3, sizes_hw=((64, 64), (64, 96)))


@pytest.fixture
def small_experiment(shapes: Path) -> config.Experiment:
    """Two blocks of width 32 that learn, and a small Faster R-CNN, for two epochs on the CPU."""
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
                "checkpoint_every_steps": 2,
            },
        }
    )
