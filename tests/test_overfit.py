"""Eight real pictures are learnt by heart: the whole chain, from reader to metric, with every head."""

from pathlib import Path

import pytest

from dinotune import api
from dinotune.config.loading import load_experiment

QUERIES = ["data.size=192", "training.learning_rate=5e-4", "training.clip=0.1"]
CHANGES = {
    "bccd_faster_rcnn": [],
    "coco53_faster_rcnn": [],
    "nuclei_faster_rcnn": [],
    "bccd_deformable_detr": [*QUERIES, "training.epochs=150"],
    "bccd_plain_detr": [*QUERIES, "training.epochs=300"],
    # DETR learns slowly: 2,400 steps of 2 pictures.
    "bccd_detr": [*QUERIES, "training.epochs=600"],
}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("recipe", CHANGES)
def test_eight_pictures_are_learnt_by_heart(shared_data: Path, tmp_path: Path, recipe: str) -> None:
    data, _, _ = recipe.partition("_")
    overrides = [f"data.root={shared_data / data}", "device=cpu", "data.workers=0", *CHANGES[recipe]]
    experiment = load_experiment(recipe, ("overfit8",), overrides, environ={}).experiment
    run = api.train(experiment, out=tmp_path / "run")
    assert run.metrics["images"] == 8
    assert run.metrics["AP50"] > 0.9
