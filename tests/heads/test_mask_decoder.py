"""Both mask decoders: the checks of every head, rotary positions, what queries begin as, what is made of masks, learning."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from dinotune import config
from dinotune.backbones.load import build_backbone
from dinotune.heads.mask_decoder import InstanceMaskDecoderHead, MaskDecoderHead
from dinotune.heads.mask_decoder.head import MaskHead
from dinotune.heads.mask_decoder.instance import tight_boxes
from dinotune.heads.mask_decoder.outputs import MaskOutputs
from dinotune.heads.mask_decoder.rotation import cell_places, rotations, turned
from dinotune.model import Model
from dinotune.testing import HEAD_CHECKS, head_trial, random_batch
from dinotune.types import Features, InstanceMasks, SemanticMaps, Targets
from tests.heads.small import IMAGE_HW, WIDTH, make_features, shaken

SMALL = {"channels": 32, "attention_heads": 4, "feedforward": 48, "decoder_layers": 2, "queries": 7}
KINDS: dict[str, Callable[..., MaskHead]] = {
    "mask_decoder": MaskDecoderHead,
    "instance_mask_decoder": InstanceMaskDecoderHead,
}
PAGES: dict[str, type[config.MaskHead]] = {
    "mask_decoder": config.MaskDecoder,
    "instance_mask_decoder": config.InstanceMaskDecoder,
}
GROUNDS: dict[str, dict[str, Any]] = {
    "two taps": {"id": "tiny-dinov3", "tiny": {"width": 32, "depth": 2}, "blocks": [0, 1]},
    "patch 14": {"id": "tiny-dinov2", "tiny": {"width": 32, "depth": 2, "patch_size": 14}},
    "three stages": {"id": "tiny-convnext", "tiny": {"width": 32, "depth": 4}, "blocks": [1, 2, 3]},
}


def make_head(kind: str = "mask_decoder", strides: tuple[int, ...] = (16,), **settings: Any) -> MaskHead:
    torch.manual_seed(0)
    page = PAGES[kind].model_validate(SMALL | settings)
    return shaken(KINDS[kind](page, (WIDTH,) * len(strides), strides, 3)).eval()


@pytest.mark.parametrize("start", ["learned", "tokens"])
@pytest.mark.parametrize("points", [12544, 100])
@pytest.mark.parametrize("ground", GROUNDS)
@pytest.mark.parametrize("kind", KINDS)
def test_checks_of_every_head(kind: str, ground: str, points: int, start: str) -> None:
    backbone, _ = build_backbone(config.Backbone.model_validate(GROUNDS[ground]))
    page = PAGES[kind].model_validate(SMALL | {"points": points, "query_start": start})
    trial = head_trial(partial(KINDS[kind], page), backbone=backbone)
    for check in HEAD_CHECKS.values():
        check(trial)


def test_rotations_see_how_far_places_lie_apart_and_nothing_else() -> None:
    queries, keys = torch.randn(2, 1, 3, 12, 16).unbind()
    places = cell_places((3, 4), queries.device)[None]

    def scores(shift: tuple[float, float]) -> Tensor:
        rotation = rotations(places + torch.tensor(shift), 16)
        return turned(queries, rotation) @ turned(keys, rotation).mT

    torch.testing.assert_close(scores((5, -3)), scores((0, 0)), rtol=1e-4, atol=1e-4)
    still = queries @ keys.mT
    assert (scores((0, 0)) - still).abs().max() > 0.1
    torch.testing.assert_close(scores((0, 0)).diagonal(dim1=2, dim2=3), still.diagonal(dim1=2, dim2=3))
    lengths = turned(queries, rotations(places, 16)).norm(dim=-1)
    torch.testing.assert_close(lengths, queries.norm(dim=-1))


def test_rows_and_columns_turn_different_channels() -> None:
    origin, below, beside = rotations(torch.tensor([[[0.0, 0], [1, 0], [0, 1]]]), 16)[1, 0]
    assert not origin.any()
    assert not below[4:].any()
    assert not beside[:4].any()
    assert torch.equal(below[:4], beside[4:])
    assert (below[:4] > 0).all()


@pytest.mark.parametrize(
    ("strides", "mask_stride"), [((16,), 4), ((14, 14), 3.5), ((8,), 4), ((4, 8, 16, 32), 4), ((32,), 4), ((4,), 4)]
)
def test_masks_have_a_stride_of_four_or_less(strides: tuple[int, ...], mask_stride: float) -> None:
    image_hw = (4 * max(strides), 6 * max(strides))
    maps = tuple(torch.randn(1, WIDTH, image_hw[0] // each, image_hw[1] // each) for each in strides)
    with torch.no_grad():
        outputs = make_head(strides=strides)(Features(maps, strides, torch.randn(1, WIDTH), (), image_hw))
    assert outputs.grid_hw == (image_hw[0] / mask_stride, image_hw[1] / mask_stride)


def test_prefix_tokens_are_read() -> None:
    head, features = make_head(), make_features(2)
    prefix = torch.randn(2, 5, WIDTH)
    with torch.no_grad():
        without, found = head(features), head(replace(features, prefix=(prefix,)))
        other = head(replace(features, prefix=(prefix.flip(0),)))
    assert without.grid_hw == found.grid_hw
    assert not torch.allclose(without.pred_masks, found.pred_masks)
    assert not torch.allclose(other.pred_masks, found.pred_masks)


def test_queries_begin_as_the_cells_that_look_most_like_a_class() -> None:
    head, features = make_head(query_start="tokens"), make_features(2)
    with torch.no_grad():
        tokens, grid_hw = head.taps(features)
        places = cell_places(grid_hw, tokens.device).expand(2, -1, -1)
        content, found = head.start(tokens, places, head._certainty)
        logits = head(features).logits
        certainty = head._certainty(head.start.propose(tokens))  # type: ignore[operator]
    assert logits.shape == (3, 2, 7, 4), "what queries begin as answers too"
    chances = logits[0].softmax(-1)[..., :3].amax(-1)
    torch.testing.assert_close(chances, certainty.topk(7, dim=1).values)
    assert (chances.diff(dim=1) <= 0).all()
    assert content.shape == (2, 7, 32)
    for image in range(2):
        best = certainty[image].topk(7).indices
        assert torch.equal(found[image], places[image, best])


def test_small_pictures_have_fewer_cells_than_queries() -> None:
    with torch.no_grad():
        outputs = make_head(query_start="tokens", queries=90)(make_features(2))
        learned = make_head(query_start="learned", queries=90)(make_features(2))
    assert outputs.logits.shape == (3, 2, 60, 4)
    assert learned.logits.shape == (2, 2, 90, 4)


def test_evaluations_look_at_the_same_places_every_time() -> None:
    head, features = make_head(points=50), make_features(2)
    _, targets = random_batch((2, 1), 3, IMAGE_HW)
    with torch.no_grad():
        assert head.loss(features, targets).values() == head.loss(features, targets).values()
        head.train()
        assert head.loss(features, targets).values() != head.loss(features, targets).values()


@pytest.mark.parametrize("kind", KINDS)
def test_an_evaluation_takes_one_forward_pass(kind: str) -> None:
    head, features = make_head(kind), make_features(2)
    calls = []
    head.taps.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        head.evaluate(features, random_batch((2, 1), 3, IMAGE_HW)[1])
    assert len(calls) == 1


def saying(logits: Tensor, masks: Tensor) -> MaskOutputs:
    queries = masks.shape[1]
    return MaskOutputs(logits[None], torch.eye(queries).expand(1, len(masks), -1, -1), masks)


def objects_of(logits: Tensor, masks: Tensor, image_hw: tuple[int, int], slots: int = 9) -> InstanceMasks:
    found = make_head("instance_mask_decoder", slots=slots).postprocess(saying(logits, masks), image_hw)
    assert isinstance(found, InstanceMasks)
    return found


def sure(labels: Tensor) -> Tensor:
    """Logits of three classes and "no object" that leave no doubt."""
    return 20 * functional.one_hot(labels, 4).float()


def test_the_truth_about_pixels_comes_through() -> None:
    """IoU 1.0 of every class: one query per class and picture, in any order, and others that find nothing."""
    truth = torch.randint(0, 3, (2, 12, 16))
    order = torch.tensor([[2, 0, 1], [1, 2, 0]])
    masks = 30 * (truth[:, None] == order[:, :, None, None]).float() - 15
    masks = torch.cat([masks, 20 * torch.randn(2, 4, 12, 16)], dim=1)
    labels = torch.cat([order, torch.full((2, 4), 3)], dim=1)
    found = make_head().postprocess(saying(sure(labels), masks), (48, 64))
    assert torch.equal(found.scores.argmax(1), truth)
    torch.testing.assert_close(found.scores.amax(1), torch.ones(2, 12, 16), rtol=0, atol=1e-3)


def test_the_truth_about_objects_comes_through() -> None:
    """IoU 1.0 of masks and boxes; a query of "no object", and one without a mask, fill no slot before others."""
    masks = torch.zeros(1, 5, 12, 16)
    masks[0, 0, 2:5, 3:9] = masks[0, 2, 6:12, 0:4] = masks[0, 3, 1:3, 1:3] = 1
    masks[0, 2, 8, 2] = 0
    logits = sure(torch.tensor([[1, 0, 2, 3, 0]]))
    logits[0, 0] *= 0.2
    logits[0, 4] = 0
    found = objects_of(logits, 30 * masks - 15, (48, 64))
    assert found.labels[0, :2].tolist() == [2, 1]
    assert found.scores[0, 0] > 0.999
    assert torch.equal(found.masks[0, :2] > 0.5, masks[0, [2, 0]] > 0)
    assert found.boxes[0, :2].tolist() == [[0, 24, 16, 48], [12, 8, 36, 20]]
    assert found.scores[0, 2] < 0.02, "the others are no object, or have no mask"


def test_empty_masks_are_empty_slots() -> None:
    found = objects_of(sure(torch.tensor([[1, 0]])), torch.full((1, 2, 12, 16), -3.0), (48, 64))
    assert found.labels.tolist() == [[-1] * 6], "two queries of three classes"
    assert not found.scores.any()
    assert not found.boxes.any()
    assert not found.masks.any()


def test_scores_are_class_times_mean_probability_inside_the_mask() -> None:
    masks = torch.full((1, 1, 2, 4), -9.0)
    masks[0, 0, 0, :2] = torch.tensor([0.9, 0.7]).logit()
    logits = torch.tensor([[[0.6, 0.3, 0.05, 0.05]]]).log()
    found = objects_of(logits, masks, (8, 16), slots=2)
    torch.testing.assert_close(found.scores, torch.tensor([[0.6 * 0.8, 0.3 * 0.8]]))
    assert found.labels.tolist() == [[0, 1]]
    assert found.boxes.tolist() == [[[0, 0, 8, 4]] * 2]


def test_boxes_are_the_edges_of_cells_that_are_not_square() -> None:
    masks = torch.zeros(1, 2, 8, 8, dtype=torch.bool)
    masks[0, 0, 3, 5] = masks[0, 0, 6, 1] = True
    assert tight_boxes(masks, (56, 28)).tolist() == [[[3.5, 21, 21, 49], [0, 0, 0, 0]]]


def trained(kind: str, start: str) -> tuple[Model, Tensor, Targets, list[float]]:
    """A tiny backbone and a small head after learning four pictures by heart."""
    backbone, _ = build_backbone(
        config.Backbone.model_validate(
            {"id": "tiny-dinov3", "tiny": {"width": 32, "depth": 2, "patch_size": 8}, "trainable": "all"}
        )
    )
    torch.manual_seed(0)
    page = PAGES[kind].model_validate(SMALL | {"queries": 12, "query_start": start})
    model = Model(backbone, KINDS[kind](page, backbone.channels, backbone.strides, 3)).train()
    images, targets = random_batch((2, 3, 1, 2), 3, (64, 96))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=120, pct_start=0.15)
    losses = []
    for _ in range(120):
        total = model.loss(images, targets).total
        optimizer.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(total.item())
    return model.eval(), images, targets, losses


def iou(found: Tensor, truth: Tensor) -> float:
    return ((found & truth).sum() / (found | truth).sum()).item()


@pytest.mark.parametrize("start", ["learned", "tokens"])
def test_pixels_of_four_pictures_are_learned(start: str) -> None:
    model, images, targets, losses = trained("mask_decoder", start)
    assert losses[-1] < losses[0] / 8
    with torch.no_grad():
        predicted = model.predict(images)
        assert isinstance(predicted, SemanticMaps)
        scores = functional.interpolate(predicted.scores, size=images.shape[-2:], mode="bilinear")
    assert targets.class_maps is not None
    counted, found = targets.class_maps >= 0, scores.argmax(1)
    assert min(iou((found == label) & counted, targets.class_maps == label) for label in range(3)) > 0.8


@pytest.mark.parametrize("start", ["learned", "tokens"])
def test_objects_of_four_pictures_are_learned(start: str) -> None:
    model, images, targets, losses = trained("instance_mask_decoder", start)
    assert losses[-1] < losses[0] / 8
    with torch.no_grad():
        found = model.predict(images)
    assert isinstance(found, InstanceMasks)
    assert targets.masks is not None
    overlaps = []
    for image, truth in enumerate(targets.masks):
        best = found.masks[image][: len(truth)]
        masks = functional.interpolate(best[None], size=images.shape[-2:], mode="bilinear")[0] > 0.5
        assert sorted(found.labels[image][: len(truth)].tolist()) == sorted(targets.labels[image].tolist())
        overlaps += [max(iou(mask, each) for mask in masks) for each in truth]
    assert sum(overlaps) / len(overlaps) > 0.8
