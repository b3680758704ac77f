"""Every head declares exactly the parameters whose shape depends on the classes, and how many rows each class has."""

import pytest

from dinotune import config
from dinotune.build import build_model
from dinotune.config.fields import choices
from dinotune.config.loading import load_experiment
from dinotune.config.own import OWN_KIND
from dinotune.data.records import LabelSet

HEADS = [
    *((f"head={kind}",) for kind in choices(config.Experiment.model_fields["head"]) if kind != OWN_KIND),
    ("head=detr", "head.class_loss=focal"),
    ("head=deformable_detr", "head.class_loss=cross_entropy", "head.two_stage=false", "head.denoising_queries=0"),
]


def shapes(head_words: tuple[str, ...], classes: int) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, int]]]:
    """Shapes of a small head's tensors, and its declared rows."""
    experiment = load_experiment(config.Experiment(), (), ["backbone=tiny-dinov3", *head_words], {}).experiment
    labels = LabelSet(tuple(f"class {n}" for n in range(classes)), tuple(range(1, classes + 1)))
    head = build_model(experiment, labels)[0].head
    declared = {name: (rows.first, rows.per_class) for name, rows in head.class_rows().items()}
    return {name: tuple(tensor.shape) for name, tensor in head.state_dict().items()}, declared


@pytest.mark.parametrize("head_words", HEADS, ids=" ".join)
def test_what_depends_on_the_classes_is_declared(head_words: tuple[str, ...]) -> None:
    three, declared = shapes(head_words, 3)
    five, declared_again = shapes(head_words, 5)
    assert declared == declared_again
    assert declared.keys() == {name for name in three if three[name] != five[name]}
    for name, (first, rows) in declared.items():
        assert five[name][0] - three[name][0] == 2 * rows
        assert first + 3 * rows <= three[name][0]
        assert three[name][1:] == five[name][1:]
