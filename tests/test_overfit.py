"""Eight real pictures are learnt by heart: the whole chain, from reader to metric."""

from pathlib import Path

import pytest

from dinotune import api
from dinotune.config.loading import load_experiment


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("recipe", ["bccd_faster_rcnn", "coco53_faster_rcnn", "nuclei_faster_rcnn", "bccd_detr"])
def test_eight_pictures_are_learnt_by_heart(shared_data: Path, tmp_path: Path, recipe: str) -> None:
    data, _, head = recipe.partition("_")
    overrides = [f"data.root={shared_data / data}", "device=cpu", "data.workers=0"]
    # DETR learns slowly: 2,400 steps of 2 pictures.
    overrides += ["training.epochs=600", "training.learning_rate=5e-4", "training.clip=0.1"] if head == "detr" else []
    experiment = load_experiment(recipe, ("overfit8",), overrides, environ={}).experiment
    run = api.train(experiment, out=tmp_path / "run")
    assert run.metrics["images"] == 8
    assert run.metrics["AP50"] > 0.9
