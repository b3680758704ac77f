"""No setting of the backbone is read and ignored: each changes what is built or what learns."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from dinotune.backbones.base import Backbone
from dinotune.backbones.load import build_backbone
from dinotune.config.loading import load_experiment
from dinotune.config.reference import settings_reference

BASE = ("backbone=tiny-dinov3", "backbone.tiny={width: 32, depth: 4}", "backbone.blocks=[1, -1]")
TRAINABLE = (*BASE, "backbone.trainable.blocks=1")
LEARNED_POSITIONS = ("backbone=tiny-dinov2", "backbone.tiny={width: 32}")


def stored_positions(backbone: Backbone) -> tuple[int, ...]:
    return tuple(backbone.get_parameter("encoder.pos_embed").shape)


def learning(backbone: Backbone) -> list[list[str]]:
    """Names of what learns in the first epochs."""
    names = []
    for epoch in range(3):
        backbone.set_epoch(epoch)
        names.append([name for name, parameter in backbone.named_parameters() if parameter.requires_grad])
    return names


def rates(backbone: Backbone) -> list[float | None]:
    return [rate for rate, _ in backbone.stage_parameters()]


def seen(backbone: Backbone, tap: int) -> list[float]:
    """Some numbers of a map while the backbone trains."""
    torch.manual_seed(0)
    pictures = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        return backbone.train()(pictures).maps[tap].flatten()[:50].tolist()  # type: ignore[no-any-return]


EFFECTS: dict[str, tuple[tuple[str, ...], str, Callable[[Backbone], Any]]] = {
    "backbone.id": (BASE, "tiny-dinov2", lambda backbone: backbone.prefix_tokens),
    "backbone.blocks": (BASE, "[0, 2]", lambda backbone: backbone.blocks),
    "backbone.tap_norm": (BASE, "none", lambda backbone: seen(backbone, 0)),
    "backbone.trainable": (BASE, "2", learning),
    "backbone.trainable.blocks": (TRAINABLE, "[2]", learning),
    "backbone.trainable.from_epoch": (TRAINABLE, "1", learning),
    "backbone.trainable.learning_rate": (TRAINABLE, "1e-5", rates),
    "backbone.rope_jitter": (TRAINABLE, "true", lambda backbone: seen(backbone, -1)),
    "backbone.tiny": (BASE, "{width: 64}", lambda backbone: backbone.channels),
    "backbone.tiny.width": (BASE, "96", lambda backbone: backbone.channels),
    "backbone.tiny.depth": (BASE, "3", lambda backbone: backbone.depth),
    "backbone.tiny.patch_size": (BASE, "8", lambda backbone: backbone.strides),
    "backbone.tiny.image_size": (LEARNED_POSITIONS, "64", stored_positions),
}


def test_no_setting_is_forgotten() -> None:
    assert set(EFFECTS) == {row.key for row in settings_reference() if row.key.startswith("backbone.")}


@pytest.mark.parametrize("key", EFFECTS)
def test_the_setting_changes_the_backbone(key: str) -> None:
    context, value, observe = EFFECTS[key]

    def observed(*more: str) -> Any:
        settings = load_experiment("coco_faster_rcnn", (), [*context, *more], {}).experiment.backbone
        return observe(build_backbone(settings)[0])

    before = observed()
    assert before == observed(), "what is observed is the same twice"
    assert observed(f"{key}={value}") != before
