"""Deformable DETR: its points, its pyramid on every kind of backbone, and its learning in every form."""

from typing import Any

import pytest
import torch

from dinotune import config
from dinotune.backbones.load import build_backbone
from dinotune.heads.deformable_detr import DeformableDetrHead
from dinotune.heads.deformable_detr.layers import DeformableAttention
from dinotune.heads.deformable_detr.pyramid import LightPyramid
from dinotune.heads.two_stage import Memory, grid_anchors
from dinotune.types import Features
from tests.heads.small import IMAGE_HW, QUERY_HEAD, WIDTH, make_features, make_targets, one, shaken

SMALL = QUERY_HEAD | {
    "encoder_layers": 1,
    "decoder_layers": 2,
    "stride_factors": [0.5, 1, 2],
    "sampling_points": 2,
    "denoising_queries": 4,
    "one_to_many_queries": 9,
}
FORMS: dict[str, dict[str, Any]] = {
    "default": {},
    "standard attention": {"attention": "standard"},
    "no modulation": {"modulation": False},
    "one stage": {"two_stage": False},
    "pure selection": {"mixed_selection": False},
    "fixed boxes": {"box_refinement": False},
    "no encoder": {"encoder_layers": 0},
    "softmax": {"class_loss": "cross_entropy"},
    "IoU-aware": {"class_loss": "ia_bce"},
}


def make_head(**settings: Any) -> DeformableDetrHead:
    torch.manual_seed(0)
    return DeformableDetrHead(config.DeformableDetr.model_validate(SMALL | settings), (WIDTH,), (16,), classes=3).eval()


@pytest.mark.parametrize("form", FORMS)
def test_gradients_reach_every_parameter(form: str) -> None:
    head = shaken(make_head(**FORMS[form])).train()
    head.loss(make_features(2), make_targets(2, 3)).total.backward()
    assert [name for name, p in head.named_parameters() if p.grad is None or p.grad.norm() == 0] == []


@pytest.mark.parametrize("form", ["default", "one stage", "softmax", "IoU-aware"])
@pytest.mark.parametrize("counts", [(2, 0), (0, 0), (20, 3)])
def test_any_number_of_objects_teaches(form: str, counts: tuple[int, ...]) -> None:
    """Pictures without objects, batches without any, and more objects than queries."""
    head = shaken(make_head(**FORMS[form])).train()
    losses = head.loss(make_features(2), make_targets(*counts))
    assert torch.isfinite(losses.total)
    losses.total.backward()
    assert [n for n, p in head.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()] == []


@pytest.mark.parametrize("form", FORMS)
def test_a_batch_predicts_what_its_images_predict_alone(form: str) -> None:
    head, features = shaken(make_head(**FORMS[form])), make_features(3)
    with torch.no_grad():
        together = head.predict(features)
        for index in range(3):
            alone = head.predict(one(features, index))
            torch.testing.assert_close(together.boxes[index], alone.boxes[0], rtol=1e-4, atol=1e-2)
            torch.testing.assert_close(together.scores[index], alone.scores[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("form", ["default", "standard attention", "one stage"])
def test_queries_differ(form: str) -> None:
    with torch.no_grad():
        logits = make_head(**FORMS[form])(make_features(1)).pred_logits[0]
    apart = (logits[None] - logits[:, None]).abs().amax(-1) + torch.eye(7)
    assert (apart > 1e-3).all()


def test_layers_are_distinct() -> None:
    head = make_head(encoder_layers=2)
    layers = [*head.encoder, *head.decoder.layers, *head.decoder.locate]
    names = [{id(p) for p in layer.parameters()} for layer in layers]
    assert len(set.union(*names)) == sum(map(len, names))


@pytest.mark.parametrize("prior", [0.01, 0.05])
@pytest.mark.parametrize("kind", ["focal", "ia_bce"])
def test_sigmoids_start_at_their_prior(kind: str, prior: float) -> None:
    head = make_head(class_loss={"kind": kind, "prior": prior}, queries=50)
    with torch.no_grad():
        mean = head.class_loss.scores(head(make_features(2)).pred_logits).mean().item()
    assert mean == pytest.approx(prior, rel=0.1)


def test_losses_and_predictions_are_fp32_under_autocast() -> None:
    head, features = make_head().train(), make_features(2)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        losses, found = head.loss(features, make_targets(2, 1)), head.eval().predict(features)
    assert {value.dtype for value in losses.terms.values()} == {torch.float32}
    assert found.boxes.dtype == found.scores.dtype == torch.float32


def test_costs_that_are_not_finite_give_a_loss_that_is_not() -> None:
    head = make_head()
    with torch.no_grad():
        content = head.start.content
        assert content is not None
        content[3] = torch.nan
        assert torch.isnan(head.loss(make_features(2), make_targets(2, 1)).total)


@pytest.mark.parametrize("points", [1, 3])
def test_points_differ_before_training(points: int) -> None:
    """Each head in its own direction, each point one step farther, the same in every level."""
    attention = DeformableAttention(config.DeformableDetr(attention_heads=8, sampling_points=points))
    offsets = attention.offsets.bias.view(8, 4, points, 2)
    assert len(offsets[:, 0].flatten(0, 1).unique(dim=0)) == 8 * points
    torch.testing.assert_close(offsets, offsets[:, :1].expand_as(offsets))
    torch.testing.assert_close(offsets[:, 0].abs().amax(-1), torch.arange(1.0, points + 1).expand(8, -1))


def test_offsets_count_in_units_of_the_box() -> None:
    """A point at an offset of as many units as there are points lies on the edge of the box, whatever its size."""
    settings = config.DeformableDetr.model_validate(
        {"channels": 8, "attention_heads": 1, "sampling_points": 4, "stride_factors": [1], "modulation": False}
    )
    attention = DeformableAttention(settings)
    with torch.no_grad():
        attention.values.weight.copy_(torch.eye(8))
        attention.output.weight.copy_(torch.eye(8))
        attention.offsets.bias.copy_(torch.tensor([4.0, 0]).repeat(4))
    # A ramp in x tells where the points lie.
    x = (torch.arange(20) + 0.5) / 20
    tokens = x.expand(10, -1).flatten()[None, :, None].expand(-1, -1, 8)
    memory = Memory(tokens, grid_anchors([(10, 20)], [0.1], torch.device("cpu")), ((10, 20),), torch.zeros(200, 8))
    boxes = torch.tensor([[[0.4, 0.5, 0.3, 0.2], [0.5, 0.5, 0.6, 0.2]]])
    read: list[torch.Tensor] = []
    attention.output.register_forward_hook(lambda _module, inputs, _output: read.append(inputs[0]))
    queries = torch.zeros(1, 2, 8)
    attention(queries, queries, memory, boxes[..., :2], boxes[:, :, None, 2:] / 8)
    torch.testing.assert_close(read[0][0, :, 0], torch.tensor([0.55, 0.8]))


@pytest.mark.parametrize(
    ("strides", "factors", "sources", "shapes"),
    [
        ((16,), (0.5, 1, 2, 4), [(0,), (0,), (0,), (0,)], [(14, 22), (7, 11), (4, 6), (2, 3)]),
        ((14, 14), (0.25, 0.5), [(0, 1), (0, 1)], [(32, 52), (16, 26)]),
        ((4, 8, 16, 32), (0.5, 1, 2, 4), [(1,), (2,), (3,), (3,)], [(14, 22), (7, 11), (4, 6), (2, 3)]),
        ((8, 32), (1, 2), [(0,), (1,)], [(7, 11), (4, 6)]),
    ],
)
def test_levels_come_from_the_nearest_taps(
    strides: tuple[int, ...],
    factors: tuple[float, ...],
    sources: list[tuple[int, ...]],
    shapes: list[tuple[int, int]],
) -> None:
    pyramid = LightPyramid([4 + tap for tap in range(len(strides))], strides, 8, factors)
    assert pyramid.sources == sources
    height, width = 112, 176
    maps = tuple(
        torch.randn(2, 4 + tap, -(-height // stride), -(-width // stride)) for tap, stride in enumerate(strides)
    )
    levels = pyramid(Features(maps, strides, torch.zeros(2, 4), (), (height, width)))
    assert [tuple(level.shape) for level in levels] == [(2, 8, *shape) for shape in shapes]


@pytest.mark.parametrize(
    "backbone",
    [
        config.Backbone(id="tiny-dinov2", tiny=config.TinyShape(width=32, depth=2), blocks=(0, 1)),
        config.Backbone(id="tiny-dinov3", tiny=config.TinyShape(width=32, depth=2)),
        config.Backbone(id="tiny-convnext", tiny=config.TinyShape(width=32, depth=4), blocks=(0, 1, 2, 3)),
        config.Backbone(id="tiny-convnext", tiny=config.TinyShape(width=32, depth=4), blocks=(3,)),
    ],
    ids=lambda backbone: f"{backbone.id} {backbone.blocks}",
)
def test_every_backbone_fits(backbone: config.Backbone) -> None:
    """One tap or several, patches of 14 and 16, maps of one stride or of several."""
    trunk, _ = build_backbone(backbone)
    settings = config.DeformableDetr.model_validate(SMALL | {"stride_factors": [0.5, 1, 2, 4]})
    head = shaken(DeformableDetrHead(settings, trunk.channels, trunk.strides, classes=3))
    sides = [trunk.size_multiple * -(-side // trunk.size_multiple) for side in IMAGE_HW]
    with torch.no_grad():
        features = trunk(torch.rand(2, 3, *sides))
    head.train().loss(features, make_targets(2, 1)).total.backward()
    assert [name for name, p in head.named_parameters() if p.grad is None or p.grad.norm() == 0] == []
    height, width = sides
    found = head.eval().predict(features).boxes
    assert (found >= 0).all()
    assert (found <= torch.tensor([width, height, width, height])).all()


def test_points_and_learned_boxes_learn_slower() -> None:
    head = make_head(two_stage=False)
    slower = head.learning_rate_factors()
    assert {"start.box_positions", "one_to_many_start.box_positions", "encoder.0.attention.offsets.weight"} < set(
        slower
    )
    assert set(slower.values()) == {0.1}
    assert slower.keys() <= {name for name, _ in head.named_parameters()}
    assert len([name for name in slower if ".offsets." in name]) == 2 * (1 + 2)


def test_wrong_settings_say_what_would_work() -> None:
    with pytest.raises(ValueError, match=r"do not double from level to level; use e.g. \[0.5, 1, 2\]"):
        config.DeformableDetr(stride_factors=(1, 3))
    with pytest.raises(ValueError, match="the finest level is 8"):
        config.DeformableDetr(stride_factors=(8,))
