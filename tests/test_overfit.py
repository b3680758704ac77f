"""Eight real pictures are learnt by heart: the whole chain, from reader to metric."""

from pathlib import Path

import pytest

from dinotune import api
from dinotune.config.loading import load_experiment


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("data", ["bccd", "coco53", "nuclei"])
def test_eight_pictures_are_learnt_by_heart(shared_data: Path, tmp_path: Path, data: str) -> None:
    overrides = [f"data.root={shared_data / data}", "device=cpu", "data.workers=0"]
    experiment = load_experiment(f"{data}_faster_rcnn", ("overfit8",), overrides, environ={}).experiment
    run = api.train(experiment, out=tmp_path / "run")
    assert run.metrics["images"] == 8
    assert run.metrics["AP50"] > 0.9
