"""No setting of an adapter is read and ignored: each changes what is computed, what learns, or how fast."""

from typing import Any

import pytest
import torch

from dinotune import config
from dinotune.build import build_model
from dinotune.config.reference import settings_reference
from dinotune.data.records import LabelSet
from dinotune.training.optimizer import parameter_groups
from tests.adapters.kinds import randomise

CHANGES: dict[str, dict[str, Any]] = {
    "lora": {
        "rank": 4,
        "alpha": 32,
        "dropout": 0.5,
        "layers": ["proj"],
        "blocks": 1,
        "dora": True,
        "learning_rate_factor": 0.5,
        "weight_decay_factor": 0.5,
    },
    "norm_bias": {"parameters": "norm", "blocks": 1, "learning_rate_factor": 0.5, "weight_decay_factor": 0.5},
    "daga": {
        "variant": "v1",
        "blocks": "last",
        "ratio": 0.5,
        "dropout": 0.5,
        "hidden": 24,
        "learning_rate_factor": 1,
        "weight_decay_factor": 1,
    },
    "bottleneck": {
        "blocks": "last",
        "ratio": 0.5,
        "width": 4,
        "dropout": 0.5,
        "scale": 0.5,
        "learning_rate_factor": 1,
        "weight_decay_factor": 1,
    },
}
"""Another value of each setting, by kind."""
CONTEXT = {("daga", "hidden"): {"variant": "v1"}}
"""What must be set for a setting to exist."""
NEVER_DECAYS = {("norm_bias", "weight_decay_factor")}
"""Norms and biases have no decay, whatever its share."""


def observed(kind: str, settings: dict[str, Any]) -> list[Any]:
    """Names and rates of what learns, and features in training mode once the adapter has moved."""
    experiment = config.Experiment.model_validate(
        {
            "backbone": {"id": "tiny-dinov3", "tiny": {"width": 32}, "blocks": [1, 3]},
            "adapter": {"kind": kind, **settings},
            "head": {"kind": "faster_rcnn", "channels": 16, "hidden": 32},
        }
    )
    model, _ = build_model(experiment, LabelSet(("a",), (1,)))
    backbone = model.backbone.train()
    names = [(name, parameter.shape) for name, parameter in backbone.adapter_parameters()]
    own = {id(parameter) for _, parameter in backbone.adapter_parameters()}
    groups = parameter_groups(model, experiment.training)
    rates = [(g["lr"], g["weight_decay"]) for g in groups if own & {id(p) for p in g["params"]}]
    torch.manual_seed(1)
    randomise(backbone)
    torch.manual_seed(2)
    with torch.no_grad():
        return [names, rates, [grid.flatten().tolist() for grid in backbone(torch.rand(2, 3, 64, 64)).maps]]


def test_no_setting_is_forgotten() -> None:
    rows = {(row.kind, row.key) for row in settings_reference() if row.key.startswith("adapter.")}
    known = {(kind, f"adapter.{key}") for kind, changes in CHANGES.items() for key in changes}
    assert {row for row in rows if ":" not in row[0]} == known, "adapters of one's own have options instead"


@pytest.mark.parametrize(("kind", "key"), [(kind, key) for kind, changes in CHANGES.items() for key in changes])
def test_the_setting_counts(kind: str, key: str) -> None:
    context = CONTEXT.get((kind, key), {})
    before = observed(kind, context)
    assert before == observed(kind, context), "what is observed is the same twice"
    assert (observed(kind, {**context, key: CHANGES[kind][key]}) != before) is ((kind, key) not in NEVER_DECAYS)
