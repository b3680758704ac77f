"""An experiment decides its model: kinds, classes, and weights drawn from its seed alone."""

import pytest
import torch

from dinotune import config
from dinotune.build import build_model
from dinotune.data.records import LabelSet
from dinotune.heads.faster_rcnn import FasterRcnnHead
from dinotune.types import Detections, Targets
from tests.training.small_runs import changed

LABELS = LabelSet(("a", "b", "c"), (3, 5, 9))


def test_random_weights_depend_on_the_seed_alone(small_experiment: config.Experiment) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = build_model(small_experiment, LABELS)[0].state_dict()
    assert torch.equal(torch.get_rng_state(), before), "building draws nothing from the global generator"
    torch.manual_seed(2)
    second = build_model(small_experiment, LABELS)[0].state_dict()
    other = build_model(changed(small_experiment, "seed=1"), LABELS)[0].state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    for part in ("head.rpn.head.conv.0.0.weight", "backbone.encoder.blocks.0.attn.qkv.weight"):
        assert not torch.equal(first[part], other[part])


@pytest.mark.parametrize("classes", [1, 3])
def test_the_head_fits_backbone_and_classes(small_experiment: config.Experiment, classes: int) -> None:
    labels = LabelSet(LABELS.names[:classes], LABELS.ids[:classes])
    model, report = build_model(changed(small_experiment, "backbone.blocks=[0, 1]"), labels)
    assert isinstance(model.head, FasterRcnnHead)
    assert model.head.classes == classes
    assert model.backbone.channels == (32, 32)
    assert report.found == "random weights, seed 0"
    images, targets = (
        torch.rand(2, 3, 64, 96),
        Targets(
            (torch.tensor([[4.0, 8, 40, 50]]), torch.zeros(0, 4)),
            (torch.tensor([classes - 1]), torch.zeros(0, dtype=torch.int64)),
        ),
    )
    losses = model.loss(images, targets)
    losses.total.backward()
    assert losses.total == sum(losses.terms.values())
    found = model.eval().predict(images)
    assert isinstance(found, Detections)
    assert found.boxes.shape == (2, 20, 4)
    assert set(found.labels.unique().tolist()) <= {-1, *range(classes)}


@pytest.mark.parametrize(("patch", "multiple"), [(8, 8), (14, 14), (16, 16)])
def test_sides_are_multiples_of_the_patch(small_experiment: config.Experiment, patch: int, multiple: int) -> None:
    model, _ = build_model(changed(small_experiment, f"backbone.tiny.patch_size={patch}"), LABELS)
    assert model.size_multiple == multiple
