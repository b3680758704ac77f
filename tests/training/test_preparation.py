"""Settings that come to nothing in a run are named before it."""

import pytest

from dinotune import config
from dinotune.training.preparation import ignored_settings, prepare
from tests.training.small_runs import changed


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["training.warmup_steps=3"], []),
        (["training.warmup_steps=4"], ["training.warmup_steps: 4 is too long for 12 steps; 3 taken"]),
        (["training.schedule={kind: steps, epochs: [1]}"], []),
        (["training.schedule={kind: steps, epochs: [1, 2]}"], ["training.schedule.epochs: [2] never come in 2 epochs"]),
        (["backbone.trainable=[{blocks: 1, from_epoch: 1}]"], []),
        (
            ["backbone.trainable=[{blocks: 1, from_epoch: 2}]"],
            ["backbone.trainable: from_epoch [2] never comes in 2 epochs"],
        ),
        (["training.early_stopping=1"], []),
        (
            ["training.early_stopping=1", "training.validate_every=2"],
            ["training.early_stopping.patience: 1 never runs out in 1 evaluation"],
        ),
        (["evaluation.max_detections=300", "head.slots=300"], []),
        (
            ["evaluation.max_detections=300", "head.slots=200"],
            ["evaluation.max_detections: 300, but head.slots gives 200 per picture at the most"],
        ),
    ],
)
def test_settings_without_effect_are_named(
    small_experiment: config.Experiment, overrides: list[str], said: list[str]
) -> None:
    assert ignored_settings(changed(small_experiment, *overrides), steps_per_epoch=6) == said


@pytest.mark.parametrize(("trainable", "said"), [("[]", True), ("1", False)])
def test_random_weights_that_never_learn_are_named(
    small_experiment: config.Experiment, trainable: str, said: bool
) -> None:
    opening = "\n".join(prepare(changed(small_experiment, f"backbone.trainable={trainable}")).opening)
    assert ("the backbone's random weights never learn; backbone.trainable=all lets them" in opening) is said
