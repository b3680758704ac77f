"""The lightweight modifiers: far fewer parameters learn, for every size of backbone, and a run says so."""

import pytest

from dinotune import config
from dinotune.build import build_model, sketch_model
from dinotune.config.loading import load_experiment
from dinotune.data.records import LabelSet
from dinotune.training.parameters import learning_parameters

SIZES = {
    "small": ("lightweight", 384),
    "base": ("lightweight_base", 768),
    "large": ("lightweight_large", 1024),
    "giant": ("lightweight_giant", 1536),
}
"""Modifier and width of the backbone."""
RECIPE = "dinov2_lora_deformable_detr"


def learning(experiment: config.Experiment) -> int:
    model = sketch_model(experiment, classes=80)
    assert model is not None
    return sum(learning_parameters(model).values())


@pytest.mark.parametrize("size", SIZES)
def test_lightweight_trains_a_tenth_to_a_fifth_of_the_parameters(size: str) -> None:
    modifier, width = SIZES[size]
    words = [f"backbone=facebook/dinov2-{size}"]
    full = load_experiment(RECIPE, (), [*words, f"head.channels={width}"], {}).experiment
    light = load_experiment(RECIPE, (modifier,), words, {}).experiment
    fewer = 1 - learning(light) / learning(full)
    assert 0.8 < fewer < 0.9


def test_what_a_modifier_changed_is_compared_with_the_experiment_before() -> None:
    loaded = load_experiment("faster_rcnn", ("lightweight",), ["training.epochs=3"], {})
    assert loaded.unmodified == load_experiment("faster_rcnn", (), ["training.epochs=3"], {}).experiment
    assert load_experiment("faster_rcnn", (), ["training.epochs=3"], {}).unmodified is None


def test_a_sketch_counts_like_the_model_and_needs_a_known_shape() -> None:
    experiment = load_experiment("bccd_detr", (), ["adapter=daga"], {}).experiment
    model, _ = build_model(experiment, LabelSet(("a", "b", "c"), (1, 2, 3)))
    sketch = sketch_model(experiment, classes=3)
    assert sketch is not None
    assert learning_parameters(sketch) == learning_parameters(model)
    assert {p.device.type for p in sketch.parameters()} == {"meta"}
    unknown = load_experiment(experiment, (), ["backbone=weights/my_own.safetensors"], {}).experiment
    assert sketch_model(unknown, classes=3) is None
