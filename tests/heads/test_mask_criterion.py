"""Matching, cross-entropy and dice of masks: against brute force and a slow reference, at all cells and at drawn places."""

import itertools
import math
from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dinotune import config
from dinotune.heads.class_losses import CrossEntropyClasses
from dinotune.heads.mask_decoder.criterion import PAIRS_AT_ONCE, MaskCriterion
from dinotune.heads.mask_decoder.outputs import MaskOutputs
from dinotune.heads.mask_decoder.points import PlaceSampler, share_at, values_at
from dinotune.heads.mask_decoder.targets import MaskTargets, class_targets, object_targets
from dinotune.testing.batches import random_targets
from dinotune.types import Losses, Targets

HW, GRID_HW, CLASSES = (48, 64), (12, 16), 3
CPU = torch.device("cpu")


def make_criterion(**settings: object) -> MaskCriterion:
    page = config.MaskHead.model_validate(settings)
    return MaskCriterion(page, CrossEntropyClasses(config.CrossEntropy(cost_class=2, weight_class=2), CLASSES))


def make_outputs(layers: int, batch: int, queries: int, seed: int = 0) -> MaskOutputs:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    return MaskOutputs(
        draw(layers, batch, queries, CLASSES + 1), draw(layers, batch, queries, 8), draw(batch, 8, *GRID_HW)
    )


def make_targets(*objects: int, seed: int = 1) -> Targets:
    return random_targets(objects, CLASSES, HW, torch.Generator().manual_seed(seed))


def saying(logits: Tensor, masks: Tensor) -> MaskOutputs:
    """One layer that says these class logits [batch, queries, 4] and mask logits [batch, queries, rows, columns]."""
    queries = masks.shape[1]
    return MaskOutputs(logits[None], torch.eye(queries).expand(1, len(masks), -1, -1), masks)


def all_cells(outputs: MaskOutputs) -> PlaceSampler:
    return PlaceSampler(10_000, outputs.grid_hw, CPU, None)


def centres(masks: Tensor) -> Tensor:
    """Values of masks [objects, 48, 64] in the middle of each cell of 4 x 4 pixels, where four pixels meet."""
    floats = masks.float()
    around = [floats[:, row::4, column::4] for row in (1, 2) for column in (1, 2)]
    return torch.stack(around).mean(0)


def slow_distances(logits: Tensor, truth: Tensor, counted: Tensor) -> tuple[float, float]:
    """Cross-entropy and dice distance of one mask, cell by cell."""
    entropy = weight = both = chances = wanted = 0.0
    for x, t, w in zip(logits.flatten().tolist(), truth.flatten().tolist(), counted.flatten().tolist(), strict=True):
        if w == 0:
            continue
        chance, share = 1 / (1 + math.exp(-x)), t / w
        entropy -= w * (share * math.log(chance) + (1 - share) * math.log(1 - chance))
        weight, both, chances, wanted = weight + w, both + w * chance * share, chances + w * chance, wanted + t
    return entropy / weight, 1 - (2 * both + 1) / (chances + wanted + 1)


def slow_costs(outputs: MaskOutputs, targets: MaskTargets, layer: int, image: int) -> Tensor:
    masks = torch.einsum("qc,chw->qhw", outputs.embeddings[layer, image], outputs.pixels[image])
    counted = centres(targets.counted[image].expand(1, *HW))[0]
    cost = torch.zeros(len(masks), len(targets.labels[image]))
    for (query, logits), (row, truth) in itertools.product(enumerate(masks), enumerate(centres(targets.masks[image]))):
        entropy, dice = slow_distances(logits, truth, counted)
        chance = outputs.logits[layer, image, query].softmax(-1)[targets.labels[image][row]].item()
        cost[query, row] = 5 * entropy + 5 * dice - 2 * chance
    return cost


def cheapest(cost: Tensor) -> tuple[float, tuple[tuple[int, int], ...]]:
    """The cheapest one-to-one pairs of query and mask, by trying all."""
    queries, masks = cost.shape
    if masks == 0:
        return 0.0, ()
    few, many = min(queries, masks), range(max(queries, masks))
    tries = [
        tuple(zip(*((t, range(few)) if queries >= masks else (range(few), t)), strict=True))
        for t in itertools.permutations(many, few)
    ]
    return min((sum(cost[q, m].item() for q, m in pairs), pairs) for pairs in tries)


KINDS = {"classes": class_targets, "objects": object_targets}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("queries", "objects"), [(4, (3, 0, 2)), (2, (4, 1, 3))])
def test_each_layer_and_image_gets_its_cheapest_pairs(kind: str, queries: int, objects: tuple[int, ...]) -> None:
    outputs, targets = make_outputs(2, 3, queries), KINDS[kind](make_targets(*objects))
    criterion = make_criterion()
    matches = criterion.match(outputs, targets, all_cells(outputs))
    assert matches.finite
    for layer, image in itertools.product(range(2), range(3)):
        slow = slow_costs(outputs, targets, layer, image)
        if slow.shape[1]:
            fast = criterion.cost(outputs, targets, image, all_cells(outputs))[layer]
            torch.testing.assert_close(fast, slow, rtol=1e-4, atol=1e-4)
        mine = (matches.layer == layer) & (matches.image == image)
        pairs = zip(matches.query[mine].tolist(), matches.target[mine].tolist(), strict=True)
        assert set(pairs) == set(cheapest(slow)[1])


def slow_losses(outputs: MaskOutputs, targets: MaskTargets) -> dict[str, float]:
    """Terms of one layer with weights 5, 5 and 2, pair by pair."""
    count = max(1, sum(map(len, targets.labels)))
    entropy = dice = total = weight = 0.0
    for image in range(len(targets.masks)):
        pairs = dict(cheapest(slow_costs(outputs, targets, 0, image))[1])
        masks = torch.einsum("qc,chw->qhw", outputs.embeddings[0, image], outputs.pixels[image])
        for query, logits in enumerate(outputs.logits[0, image]):
            label = int(targets.labels[image][pairs[query]]) if query in pairs else CLASSES
            own = 1.0 if query in pairs else 0.1
            total, weight = total - own * logits.log_softmax(-1)[label].item(), weight + own
            if query in pairs:
                truth = centres(targets.masks[image])[pairs[query]]
                counted = centres(targets.counted[image].expand(1, *HW))[0]
                parts = slow_distances(masks[query], truth, counted)
                entropy, dice = entropy + parts[0], dice + parts[1]
    return {"loss_class": 2 * total / weight, "loss_mask": 5 * entropy / count, "loss_dice": 5 * dice / count}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("objects", [(3, 0, 2), (0, 0), (6, 1)])
def test_losses_are_those_of_a_slow_reference(kind: str, objects: tuple[int, ...]) -> None:
    outputs, targets = make_outputs(1, len(objects), 4), KINDS[kind](make_targets(*objects))
    found = make_criterion()(outputs, targets).values()
    assert found == pytest.approx(slow_losses(outputs, targets), rel=1e-4, abs=1e-5)


def test_layers_are_summed_up() -> None:
    outputs, targets = make_outputs(3, 2, 4), object_targets(make_targets(2, 1))
    alone = [make_criterion()(outputs.layers([layer]), targets).values() for layer in range(3)]
    found = make_criterion()(outputs, targets).values()
    assert found.pop("loss_auxiliary") == pytest.approx(sum(sum(each.values()) for each in alone[:-1]), rel=1e-5)
    assert found == pytest.approx(alone[-1], rel=1e-5)


@pytest.mark.parametrize(("start", "taught"), [("learned", [2]), ("tokens", [0, 2])])
def test_without_auxiliary_losses_the_last_layer_learns_and_what_proposes(start: str, taught: Sequence[int]) -> None:
    outputs, targets = make_outputs(3, 2, 4), object_targets(make_targets(2, 1))
    found = make_criterion(auxiliary_losses=False, query_start=start)(outputs, targets).values()
    assert found == pytest.approx(make_criterion()(outputs.layers(taught), targets).values(), rel=1e-5)


@pytest.mark.parametrize("points", [10_000, 60])
def test_ignored_pixels_change_nothing(points: int) -> None:
    """What a mask says there neither costs anything nor learns, and no place is wasted on them."""
    targets = make_targets(3, 2)
    maps = targets.class_maps
    assert maps is not None
    maps[:, :, :32] = -1
    outputs, wanted = make_outputs(1, 2, 5), class_targets(targets)
    outputs.pixels.requires_grad_()
    other = outputs.pixels.detach().clone()
    other[..., :7] = 9 * torch.randn(other[..., :7].shape)
    criterion = make_criterion(points=points)
    losses = criterion(outputs, wanted, torch.Generator().manual_seed(0)).total
    losses.backward()
    assert outputs.pixels.grad is not None
    assert not outputs.pixels.grad[..., :7].any()
    assert outputs.pixels.grad[..., 8:].any()
    if points == 10_000:
        changed = MaskOutputs(outputs.logits, outputs.embeddings, other)
        assert criterion(changed, wanted).total.item() == pytest.approx(losses.item(), rel=1e-5)


def test_pictures_in_which_nothing_counts_teach_no_masks() -> None:
    targets = make_targets(2, 1)
    assert targets.class_maps is not None
    targets.class_maps[:] = -1
    outputs = make_outputs(2, 2, 4)
    for tensor in vars(outputs).values():
        tensor.requires_grad_()
    for points in (10_000, 50):
        losses = make_criterion(points=points)(outputs, class_targets(targets))
        losses.total.backward()
        values = losses.values()
        assert values["loss_mask"] == values["loss_dice"] == 0
        assert values["loss_class"] > 0
        assert all(tensor.grad is not None and torch.isfinite(tensor.grad).all() for tensor in vars(outputs).values())


def test_class_targets_are_the_classes_that_a_picture_shows() -> None:
    targets = make_targets(3, 0)
    assert targets.class_maps is not None
    wanted = class_targets(targets)
    for image, shown in enumerate(targets.class_maps):
        assert wanted.labels[image].tolist() == sorted(set(shown.flatten().tolist()) - {-1})
        for label, mask in zip(wanted.labels[image].tolist(), wanted.masks[image], strict=True):
            assert torch.equal(mask, shown == label)


@pytest.mark.parametrize(("points", "takes_all"), [(192, True), (191, False)])
def test_all_cells_are_taken_where_they_are_no_more_than_the_points(points: int, takes_all: bool) -> None:
    sampler = PlaceSampler(points, GRID_HW, CPU, None)
    assert sampler.takes_all is takes_all
    assert sampler.shared().shape == (1, points, 2)
    if takes_all:
        maps = torch.randn(3, *GRID_HW)
        torch.testing.assert_close(values_at(maps, sampler.shared()), maps.flatten(1))


def test_many_drawn_places_say_what_all_cells_say() -> None:
    """For smooth masks; the loss looks where masks are unsure, the matching everywhere alike."""
    rows, columns = torch.meshgrid(torch.linspace(-3, 3, 12), torch.linspace(-4, 4, 16), indexing="ij")
    masks = torch.stack([rows + columns, 2 - rows**2, columns])[None]
    outputs, wanted = saying(torch.zeros(1, 3, 4), masks), object_targets(make_targets(3))
    criterion = make_criterion()
    everywhere = criterion.cost(outputs, wanted, 0, all_cells(outputs))
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack(
        [criterion.cost(outputs, wanted, 0, PlaceSampler(191, GRID_HW, CPU, generator)) for _ in range(99)]
    )
    torch.testing.assert_close(drawn.mean(0), everywhere, rtol=0.06, atol=0.03)


def test_most_places_lie_where_the_mask_is_unsure() -> None:
    """Three quarters of them are the least sure of three times as many."""
    logits = torch.linspace(-8, 8, 16).expand(2, 12, 16)
    counted = torch.ones(1, *HW, dtype=torch.bool)
    sampler = PlaceSampler(100, GRID_HW, CPU, torch.Generator().manual_seed(0))
    places = sampler.unsure(logits, counted)
    assert places.shape == (2, 100, 2)
    distance = (places[..., 0] - 0.5).abs()
    assert (distance[:, :75] < 0.19).all(), "a quarter of the width around the middle holds 75 of 300"
    assert (distance[:, 75:].amax(1) > 0.4).all()
    counted[:, :, 24:40] = False
    distance = (sampler.unsure(logits, counted)[..., 0] - 0.5).abs()
    assert (distance[:, :75] > 0.11).all()


def test_shares_are_those_of_grid_sample() -> None:
    masks = torch.rand(4, 9, 13) > 0.5
    places, rows = torch.rand(3, 50, 2), torch.tensor([2, 0, 3])
    places[0, :4] = torch.tensor([[0.0, 0], [1, 1], [0.5, 0], [1e-6, 1 - 1e-6]])
    torch.testing.assert_close(share_at(masks, places, rows), values_at(masks[rows].float(), places))
    torch.testing.assert_close(share_at(masks[:1], places), values_at(masks[[0, 0, 0]].float(), places))
    shared = places[:1]
    expected = F.grid_sample(masks[None].float(), 2 * shared[:, None] - 1, padding_mode="border", align_corners=False)
    torch.testing.assert_close(share_at(masks, shared, torch.arange(4)), expected[0, :, 0])


def test_the_truth_costs_next_to_nothing() -> None:
    targets = make_targets(3)
    assert targets.masks is not None
    masks = 40 * targets.masks[0][None].float() - 20
    logits = 20 * F.one_hot(targets.labels[0], CLASSES + 1)[None].float()
    assert make_criterion()(saying(logits, masks), object_targets(targets)).total < 0.01
    assert make_criterion(points=500)(saying(logits, masks), object_targets(targets)).total < 2, "between the cells"
    assert make_criterion()(saying(logits, -masks), object_targets(targets)).total > 50


@pytest.mark.parametrize("objects", [(0, 0), (40, 1), (0, 3)])
@pytest.mark.parametrize("points", [10_000, 60])
@pytest.mark.parametrize("kind", KINDS)
def test_losses_and_gradients_are_finite(kind: str, points: int, objects: tuple[int, int]) -> None:
    outputs = make_outputs(2, 2, 6)
    for tensor in vars(outputs).values():
        tensor.requires_grad_()
    losses: Losses = make_criterion(points=points)(outputs, KINDS[kind](make_targets(*objects)))
    losses.total.backward()
    assert torch.isfinite(losses.total)
    assert all(tensor.grad is not None and torch.isfinite(tensor.grad).all() for tensor in vars(outputs).values())


@pytest.mark.parametrize("at_once", [1, 4, 9])
def test_few_pairs_at_a_time_give_the_same_losses_and_gradients(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    def taught() -> tuple[Losses, Tensor]:
        outputs = make_outputs(2, 2, 6)
        outputs.pixels.requires_grad_()
        losses = make_criterion()(outputs, object_targets(make_targets(5, 2)))
        losses.total.backward()
        assert outputs.pixels.grad is not None
        return losses, outputs.pixels.grad

    losses, gradient = taught()
    monkeypatch.setattr("dinotune.heads.mask_decoder.criterion.PAIRS_AT_ONCE", at_once)
    few, few_gradient = taught()
    assert few.values() == pytest.approx(losses.values(), rel=1e-5)
    torch.testing.assert_close(few_gradient, gradient)


def test_places_are_chosen_for_a_limited_number_of_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many objects a picture has and layers answer for them."""
    seen: list[int] = []
    unsure = PlaceSampler.unsure

    def counting(sampler: PlaceSampler, logits: Tensor, counted: Tensor) -> Tensor:
        seen.append(len(logits))
        return unsure(sampler, logits, counted)

    monkeypatch.setattr(PlaceSampler, "unsure", counting)
    make_criterion(points=60)(make_outputs(3, 1, 100), object_targets(make_targets(90)))
    assert sum(seen) == 3 * 90
    assert max(seen) <= PAIRS_AT_ONCE


def test_costs_that_are_not_finite_give_a_loss_that_is_not() -> None:
    outputs = make_outputs(1, 1, 4)
    outputs.pixels[0, 0, 3, 3] = torch.nan
    assert make_criterion()(outputs, object_targets(make_targets(2))).total.isnan()
