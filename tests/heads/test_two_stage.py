"""Box queries: where they begin, how boxes are refined, and that branches learn beside each other without a word."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.ops import box_convert

from dinotune import config
from dinotune.boxes import pairwise_iou
from dinotune.heads.box_codes import LogitBoxes, RelativeBoxes
from dinotune.heads.padded_targets import PaddedTargets
from dinotune.heads.queries import QueryOutputs
from dinotune.heads.two_stage.branches import ONE_TO_ONE
from dinotune.heads.two_stage.denoising import Denoising
from dinotune.heads.two_stage.memory import grid_anchors
from dinotune.types import Features, Targets
from tests.heads.small import IMAGE_HW, make_features, make_targets, shaken
from tests.heads.test_deformable_detr import make_head

BRANCHES = {"denoising_queries": 4, "one_to_many_queries": 9}


def one_to_one(features: Features, targets: Targets, seed: int, **settings: Any) -> QueryOutputs:
    """What the one-to-one queries say in training mode, with noise of this seed."""
    head = shaken(make_head(**settings)).train()
    torch.manual_seed(seed)
    with torch.no_grad():
        return head.answer(features, targets)[0]


def test_branches_do_not_leak_into_predictions() -> None:
    """Neither the truth nor its noise reaches the queries that predict."""
    features, truth = make_features(2), make_targets(2, 3)
    expected = one_to_one(features, truth, seed=1)
    for targets, seed in ((truth, 2), (make_targets(5, 1), 1), (make_targets(0, 0), 1)):
        found = one_to_one(features, targets, seed)
        torch.testing.assert_close(found.logits, expected.logits, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found.boxes_cxcywh, expected.boxes_cxcywh, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("form", [{}, {"two_stage": False}, {"mixed_selection": False}])
def test_predictions_are_those_of_a_head_without_branches(form: dict[str, Any]) -> None:
    head, features = shaken(make_head(**BRANCHES, **form)), make_features(2)
    alone = make_head(denoising_queries=0, one_to_many_queries=0, **form)
    missing = alone.load_state_dict(head.state_dict(), strict=False)
    assert missing.missing_keys == []
    assert {name.split(".")[0] for name in missing.unexpected_keys} <= {"denoising", "one_to_many_start"}
    with torch.no_grad():
        for found in (head(features), head.train().answer(features, make_targets(2, 1))[0]):
            torch.testing.assert_close(found.boxes_cxcywh, alone(features).boxes_cxcywh, rtol=1e-4, atol=1e-5)


def test_branches_learn_while_training_only() -> None:
    head = make_head(**BRANCHES)
    terms = {"loss_class", "loss_l1", "loss_giou", "loss_auxiliary", "loss_proposals"}
    assert set(head.loss(make_features(2), make_targets(2, 1)).terms) == terms
    extra = {"loss_one_to_many", "loss_denoising"}
    assert set(head.train().loss(make_features(2), make_targets(2, 1)).terms) == terms | extra


def test_a_layer_sees_branches_apart() -> None:
    """Another content of one branch changes that branch alone, and of one group of noised objects that group alone."""
    head, features = shaken(make_head(denoising_queries=6)).train(), make_features(1)
    assert head.denoising is not None
    noised = head.denoising(PaddedTargets.of(make_targets(2), IMAGE_HW))
    memory = head.memory(features)
    starts = head._starts(head._propose(memory), noised, 1)
    parts = {name: len(queries) for name, queries in starts.items()}
    assert parts == {ONE_TO_ONE: 7, "one_to_many": 9, "denoising": 3 * 2 * 2}
    with torch.no_grad():
        before = head._decode(memory, starts)
        starts["denoising"].content.data[:, :4] += 1
        after = head._decode(memory, starts)
    for name, said in before.items():
        moved = (said.logits - after[name].logits).abs().amax((0, 1, 3)) > 1e-4
        assert moved.tolist() == [name == "denoising" and query < 4 for query in range(parts[name])]


def test_every_object_teaches_several_extra_queries() -> None:
    head = make_head(one_to_many_queries=20, one_to_many_repeats=3).train()
    padded = PaddedTargets.of(make_targets(2, 1), IMAGE_HW)
    assert padded.repeated(3).present.tolist() == [[True] * 6, [True] * 3 + [False] * 3]
    assert torch.equal(padded.repeated(3).labels[0], padded.labels[0].repeat_interleave(3))
    memory = head.memory(make_features(2))
    outputs = head._decode(memory, head._starts(head._propose(memory), None, 2))["one_to_many"]
    (matches,) = head.criterion.match([(outputs, padded.repeated(3))])
    rows = matches.layer == 0
    taught = list(zip(matches.image[rows].tolist(), (matches.target[rows] // 3).tolist(), strict=True))
    assert sorted(taught) == [(0, 0)] * 3 + [(0, 1)] * 3 + [(1, 0)] * 3


def noised_objects(count: int, **settings: Any) -> tuple[Tensor, Tensor, int]:
    """IoU of near and of far queries with their object, and groups."""
    denoising = Denoising(config.TwoStageHead(channels=8, denoising_queries=600, **settings), classes=3)
    boxes = torch.tensor([[0.5, 0.5, 0.2, 0.3], [0.3, 0.4, 0.1, 0.1]])[:count]
    targets = PaddedTargets(boxes[None], torch.zeros(1, count, dtype=torch.int64), torch.ones(1, count).bool())
    torch.manual_seed(0)
    found = denoising(targets)
    groups = found.queries.boxes_cxcywh.view(found.copies, 2, count, 4)
    ious = pairwise_iou(box_convert(groups, "cxcywh", "xyxy"), box_convert(boxes, "cxcywh", "xyxy"))
    return ious[:, 0], ious[:, 1], found.copies


def test_near_boxes_are_nearer_than_far_ones() -> None:
    near, far, copies = noised_objects(2)
    assert copies == 300
    assert near.mean() > 0.35
    assert far.mean() < 0.15
    still, _, _ = noised_objects(2, denoising_box_noise=0)
    torch.testing.assert_close(still, torch.ones_like(still))
    tight, _, _ = noised_objects(2, denoising_box_noise=0.2)
    assert tight.min() > 0.6, "two corners moved by a tenth of a side each"


def test_noised_objects_are_known_to_their_queries() -> None:
    """Near ones in every group and layer; rows that fill up a picture never."""
    targets = PaddedTargets.of(make_targets(1, 3), IMAGE_HW)
    denoising = Denoising(config.TwoStageHead(channels=8, denoising_queries=7, denoising_box_noise=0), classes=3)
    noised = denoising(targets)
    matches = noised.matches(layers=2)
    assert noised.copies == 2
    assert len(matches.layer) == 2 * 2 * 4
    found = noised.queries.boxes_cxcywh[matches.image, matches.query]
    torch.testing.assert_close(found, targets.boxes_cxcywh[matches.image, matches.target])
    assert set((matches.query % 6).tolist()) == {0, 1, 2}
    assert torch.equal(noised.queries.groups, torch.tensor([2] * 6 + [3] * 6))


@pytest.mark.parametrize(("share", "kept"), [(0, 1.0), (1, 1 / 3), (0.3, 0.8)])
def test_a_share_of_the_labels_is_drawn_anew(share: float, kept: float) -> None:
    denoising = Denoising(config.TwoStageHead(channels=8, denoising_label_noise=share), classes=3)
    torch.manual_seed(0)
    labels = torch.full((1, 3000), 2)
    assert (denoising._noised_labels(labels) == 2).float().mean().item() == pytest.approx(kept, abs=0.03)


@pytest.mark.parametrize("twice", [True, False])
def test_looking_forward_twice_teaches_the_layer_before(twice: bool) -> None:
    head = shaken(make_head(look_forward_twice=twice, decoder_layers=3)).train()
    head(make_features(1)).boxes_cxcywh[2].sum().backward()
    reached = [locate[-1].bias.grad is not None and locate[-1].bias.grad.any() for locate in head.decoder.locate]  # type: ignore[index]
    assert [bool(there) for there in reached] == [False, twice, True]


@pytest.mark.parametrize("refined", [True, False])
def test_layers_begin_where_the_layer_before_ended(refined: bool) -> None:
    head = shaken(make_head(box_refinement=refined))
    with torch.no_grad():
        outputs = head(make_features(2))
    begun = outputs.references_cxcywh
    assert begun is not None
    ended = outputs.boxes_cxcywh[0]
    assert not torch.allclose(begun[0], ended)
    torch.testing.assert_close(begun[1], ended if refined else begun[0])


def test_the_best_proposals_begin() -> None:
    head = shaken(make_head())
    with torch.no_grad():
        memory = head.memory(make_features(2))
        proposals = head._propose(memory)
        assert proposals is not None
        begun = head.start(proposals, 2).boxes_cxcywh
    for image in range(2):
        rows = proposals.scores[image].argsort(descending=True)[:7]
        torch.testing.assert_close(begun[image], proposals.outputs.pred_boxes[image, rows])


def test_small_pictures_have_fewer_queries() -> None:
    head = make_head(stride_factors=[1], queries=20).train()
    targets = Targets((torch.tensor([[4.0, 4, 20, 20]]),), (torch.tensor([1]),))
    features = make_features(1, (32, 48))
    assert torch.isfinite(head.loss(features, targets).total)
    assert head.eval()(features).pred_boxes.shape == (1, 6, 4)


def test_anchors_lie_around_their_cells() -> None:
    anchors = grid_anchors([(2, 3), (1, 1)], [0.1, 0.4], torch.device("cpu"))
    expected = [[x, y, 0.1, 0.1] for y in (0.25, 0.75) for x in (1 / 6, 0.5, 5 / 6)] + [[0.5, 0.5, 0.4, 0.4]]
    torch.testing.assert_close(anchors, torch.tensor(expected))


@pytest.mark.parametrize("code", [LogitBoxes(), RelativeBoxes()])
def test_steps_of_zero_leave_boxes_where_they_are(code: LogitBoxes | RelativeBoxes) -> None:
    boxes = torch.rand(5, 4) * 0.8 + 0.1
    torch.testing.assert_close(code.move(boxes, torch.zeros(5, 4)), boxes)


def test_relative_steps_count_in_sides() -> None:
    code, reference = RelativeBoxes(), torch.tensor([[0.5, 0.5, 0.2, 0.4]])
    moved = code.move(reference, torch.tensor([[0.5, -0.25, 0.0, 1.0]]))
    torch.testing.assert_close(moved, torch.tensor([[0.6, 0.4, 0.2, 0.4 * torch.e]]))
    difference = code.difference(moved, reference, reference)
    torch.testing.assert_close(difference, torch.tensor([[0.5, -0.25, 0.0, 1.0]]))
