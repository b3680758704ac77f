"""Settings that come to nothing in a run are named before it."""

import pytest

from dinotune import config
from dinotune.training.notices import ignored_settings
from dinotune.training.preparation import prepare
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
        (["head=deformable_detr"], []),
        (["head=plain_detr", "head.one_to_many_queries=0"], []),
        (
            ["head=plain_detr", "head.two_stage=false", "head.weight_denoising=2"],
            [
                "head.mixed_selection: does nothing while head.two_stage is false",
                "head.weight_denoising: does nothing while head.denoising_queries is 0",
            ],
        ),
        (
            ["head=deformable_detr", "head.box_refinement=false", "head.look_forward_twice=false"],
            ["head.look_forward_twice: does nothing while head.box_refinement is false"],
        ),
        (
            ["head=deformable_detr", "head.attention=standard", "head.sampling_points=8", "head.modulation=false"],
            [
                "head.sampling_points: does nothing while head.attention is standard",
                "head.modulation: does nothing while head.attention is standard",
            ],
        ),
    ],
)
def test_settings_without_effect_are_named(
    small_experiment: config.Experiment, overrides: list[str], said: list[str]
) -> None:
    assert ignored_settings(changed(small_experiment, *overrides), steps_per_epoch=6) == said


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["head=linear_segmenter", "evaluation.window=64", "evaluation.window_stride=32"], []),
        (
            ["head=mask_decoder", "evaluation.window_stride=32"],
            ["evaluation.window_stride: does nothing while evaluation.window is null"],
        ),
        (["head=instance_mask_decoder", "evaluation.max_detections=90"], []),
        (
            ["evaluation.window=64", "evaluation.window_stride=32"],
            [
                "evaluation.window: does nothing while head.kind is faster_rcnn",
                "evaluation.window_stride: does nothing while head.kind is faster_rcnn",
            ],
        ),
        (
            ["head=linear_segmenter", "evaluation.max_detections=90"],
            ["evaluation.max_detections: does nothing while head.kind is linear_segmenter"],
        ),
        (
            ["head=linear_classifier", "evaluation.max_detections=90", "evaluation.window=64"],
            [
                "evaluation.max_detections: does nothing while head.kind is linear_classifier",
                "evaluation.window: does nothing while head.kind is linear_classifier",
            ],
        ),
    ],
)
def test_settings_of_other_tasks_are_named(
    small_experiment: config.Experiment, overrides: list[str], said: list[str]
) -> None:
    assert ignored_settings(changed(small_experiment, *overrides), steps_per_epoch=6) == said


@pytest.mark.parametrize(("trainable", "said"), [("[]", True), ("1", False)])
def test_random_weights_that_never_learn_are_named(
    small_experiment: config.Experiment, trainable: str, said: bool
) -> None:
    opening = "\n".join(prepare(changed(small_experiment, f"backbone.trainable={trainable}")).opening)
    assert ("the backbone's random weights never learn; backbone.trainable=all lets them" in opening) is said


@pytest.mark.parametrize(
    ("setting", "limit", "said"), [("queries", 20, False), ("queries", 1, True), ("slots", 1, True)]
)
def test_pictures_with_more_objects_than_the_head_finds_are_counted(
    small_experiment: config.Experiment, setting: str, limit: int, said: bool
) -> None:
    crowded = changed(small_experiment, "head=detr", f"head.{setting}={limit}")
    opening = "\n".join(prepare(crowded, check=False).opening)
    assert (f"head.{setting}: at most {limit} object in a picture can be found; more, up to " in opening) is said
