"""The set criterion equals transformers' DETR loss, and truth as prediction costs nothing and scores 1."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.ops import box_convert, generalized_box_iou
from transformers.loss.loss_for_object_detection import HungarianMatcher, ImageLoss

from dinotune import config
from dinotune.boxes import generalized_iou
from dinotune.data.records import Records
from dinotune.data.splits import read_records
from dinotune.heads.class_losses import ClassLoss, build_class_loss
from dinotune.heads.padded_targets import PaddedTargets
from dinotune.heads.queries import QueryOutputs, best_detections
from dinotune.heads.set_criterion import SetCriterion, object_count
from dinotune.tasks.detection.coco_metrics import measure
from dinotune.tasks.detection.detected_boxes import DetectedBoxes
from dinotune.types import Targets
from tests.training.small_runs import processes

IMAGE_HW = (60, 100)
CLASS_LOSSES: dict[str, config.CrossEntropy | config.Focal | config.IaBce] = {
    "cross_entropy": config.CrossEntropy(),
    "focal": config.Focal(),
    "ia_bce": config.IaBce(),
}
GAMMAS = {f"focal, gamma {gamma}": config.Focal(gamma=gamma) for gamma in (0, 0.5, 1)}


def make_criterion(kind: str, classes: int = 4, **settings: object) -> tuple[SetCriterion, ClassLoss]:
    class_loss = build_class_loss(CLASS_LOSSES[kind], classes)
    return SetCriterion(config.Detr.model_validate(settings), class_loss), class_loss


def make_outputs(layers: int, batch: int, queries: int, outputs: int) -> QueryOutputs:
    torch.manual_seed(2)
    boxes = torch.rand(layers, batch, queries, 4) * 0.5 + 0.2
    return QueryOutputs(torch.randn(layers, batch, queries, outputs), boxes)


def make_targets(counts: tuple[int, ...]) -> Targets:
    torch.manual_seed(3)
    boxes = tuple(torch.cat([(corner := torch.rand(n, 2) * 30), corner + 5 + torch.rand(n, 2) * 25], 1) for n in counts)
    return Targets(boxes, tuple(torch.randint(0, 4, (n,)) for n in counts))


@pytest.mark.parametrize("counts", [(3, 2), (1, 0)])
def test_losses_equal_transformers(counts: tuple[int, int]) -> None:
    criterion, _ = make_criterion("cross_entropy")
    outputs, targets = make_outputs(1, 2, 6, 5), make_targets(counts)
    ours = criterion(outputs, targets, IMAGE_HW).terms
    matcher = HungarianMatcher(class_cost=1, bbox_cost=5, giou_cost=2)
    theirs = ImageLoss(matcher, num_classes=4, eos_coef=0.1, losses=["labels", "boxes"])(  # type: ignore[no-untyped-call]
        {"logits": outputs.pred_logits, "pred_boxes": outputs.pred_boxes},
        [
            {"class_labels": labels, "boxes": box_convert(b / torch.tensor([100, 60, 100, 60]), "xyxy", "cxcywh")}
            for b, labels in zip(targets.boxes, targets.labels, strict=True)
        ],
    )
    torch.testing.assert_close(ours["loss_class"], theirs["loss_ce"])
    torch.testing.assert_close(ours["loss_l1"], 5 * theirs["loss_bbox"])
    torch.testing.assert_close(ours["loss_giou"], 2 * theirs["loss_giou"])


def test_layers_are_matched_and_taught_by_themselves() -> None:
    criterion, _ = make_criterion("focal")
    outputs, targets = make_outputs(3, 2, 6, 4), make_targets((3, 2))
    together = criterion(outputs, targets, IMAGE_HW).terms
    alone = [
        criterion(QueryOutputs(outputs.logits[i : i + 1], outputs.boxes_cxcywh[i : i + 1]), targets, IMAGE_HW)
        for i in range(3)
    ]
    torch.testing.assert_close(together["loss_class"], alone[2].terms["loss_class"])
    torch.testing.assert_close(together["loss_auxiliary"], alone[0].total + alone[1].total)


def flipped(boxes_cxcywh: torch.Tensor) -> torch.Tensor:
    return torch.cat([1 - boxes_cxcywh[..., :1], boxes_cxcywh[..., 1:]], dim=-1)


@pytest.mark.parametrize("change", ["larger network input", "mirrored"])
def test_boxes_are_shares_of_the_network_input(change: str) -> None:
    criterion, _ = make_criterion("focal")
    outputs, targets = make_outputs(2, 2, 6, 4), make_targets((3, 2))
    expected = criterion(outputs, targets, IMAGE_HW).values()
    if change == "mirrored":
        height, width = IMAGE_HW
        moved = tuple(torch.stack([width - b[:, 2], b[:, 1], width - b[:, 0], b[:, 3]], 1) for b in targets.boxes)
        found = criterion(
            QueryOutputs(outputs.logits, flipped(outputs.boxes_cxcywh)), Targets(moved, targets.labels), IMAGE_HW
        )
    else:
        height, width = 3 * IMAGE_HW[0], 2 * IMAGE_HW[1]
        moved = tuple(b * torch.tensor([2.0, 3, 2, 3]) for b in targets.boxes)
        found = criterion(outputs, Targets(moved, targets.labels), (height, width))
    assert found.values() == pytest.approx(expected, rel=1e-5)


def count_objects(rank: int, store: str, own: tuple[int, ...], expected: tuple[float, ...]) -> None:
    """One process of a group; a wrong count ends it with an error."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    found = [object_count(number, torch.device("cpu")).item() for number in own]
    torch.distributed.destroy_process_group()
    assert found == list(expected)


def test_objects_are_counted_over_all_processes(tmp_path: Path) -> None:
    """A mean, at least 1: whoever clamps its own zero first counts too many."""
    expected = (2.5, 1.5, 1.0, 1.0)
    counts = ((5, 0, 0, 0), (0, 3, 1, 0))
    group = [
        processes.Process(target=count_objects, args=(rank, str(tmp_path / "store"), own, expected))
        for rank, own in enumerate(counts)
    ]
    for process in group:
        process.start()
    for process in group:
        process.join()
    assert [process.exitcode for process in group] == [0, 0]
    assert [object_count(number, torch.device("cpu")).item() for number in (3, 0)] == [3.0, 1.0]


@pytest.mark.parametrize("kind", CLASS_LOSSES)
def test_cost_is_of_each_image_with_its_own_objects(kind: str) -> None:
    criterion, class_loss = make_criterion(kind)
    outputs, targets = make_outputs(1, 3, 5, class_loss.outputs), make_targets((2, 4, 1))
    cost = criterion.cost(outputs, PaddedTargets.of(targets, IMAGE_HW))
    for image in range(3):
        alone = Targets((targets.boxes[image],), (targets.labels[image],))
        rows = slice(image, image + 1)
        own = QueryOutputs(outputs.logits[:, rows], outputs.boxes_cxcywh[:, rows])
        expected = criterion.cost(own, PaddedTargets.of(alone, IMAGE_HW))
        torch.testing.assert_close(cost[:, rows, :, : len(targets.boxes[image])], expected)


def test_focal_loss_and_cost_by_hand() -> None:
    class_loss = build_class_loss(config.Focal(alpha=0.25, gamma=2, weight_class=3, cost_class=5), 2)
    logits = torch.tensor([0.4, -1.3])
    p = logits.sigmoid()
    right = -0.25 * (1 - p) ** 2 * p.log()
    wrong = -0.75 * p**2 * (1 - p).log()
    torch.testing.assert_close(class_loss.cost(logits), 5 * (right - wrong))
    each = logits.view(1, 1, 1, 2)
    for label, expected in ((0, right[0] + wrong[1]), (1, wrong[0] + right[1]), (-1, wrong.sum())):
        loss = class_loss.loss(each, torch.tensor([[[label]]]), torch.zeros(1, 1, 1), torch.tensor(2.0))
        torch.testing.assert_close(loss[0], 3 * expected / 2)


def test_iou_aware_loss_by_hand() -> None:
    """Cai et al. 2024: the target of the right class is probability^alpha * IoU^(1 - alpha), of the others 0."""
    torch.manual_seed(4)
    class_loss = build_class_loss(config.IaBce(alpha=0.3, gamma=2, weight_class=3), 4)
    logits, labels, ious = torch.randn(2, 2, 5, 4), torch.randint(-1, 4, (2, 2, 5)), torch.rand(2, 2, 5)
    expected = [0.0, 0.0]
    for layer, image, query, each in np.ndindex(2, 2, 5, 4):
        p = logits[layer, image, query, each].sigmoid().item()
        if labels[layer, image, query] == each:
            target = max(0.01, p**0.3 * ious[layer, image, query].item() ** 0.7)
            expected[layer] -= target * np.log(p) + (1 - target) * np.log(1 - p)
        else:
            expected[layer] -= p**2 * np.log(1 - p)
    found = class_loss.loss(logits, labels, ious, torch.tensor(6.0))
    torch.testing.assert_close(found, torch.tensor(expected) * 3 / 6, rtol=1e-4, atol=1e-5, check_dtype=False)


def test_better_boxes_are_more_surely_their_object() -> None:
    """The criterion passes the IoU of matched boxes on; the best probability grows with it."""
    class_loss = build_class_loss(config.IaBce(), 2)
    best = []
    for iou in (0.3, 0.9):
        candidates = torch.linspace(-6, 6, 400, requires_grad=True)
        logits = torch.stack([candidates, torch.full_like(candidates, -9)], -1)[None, None]
        labels, ious = torch.zeros(1, 1, 400, dtype=torch.int64), torch.full((1, 1, 400), iou)
        (slope,) = torch.autograd.grad(class_loss.loss(logits, labels, ious, torch.tensor(1.0)).sum(), candidates)
        best.append(candidates[slope.abs().argmin()].sigmoid().item())
    # Where the target equals the probability: p = p^alpha * IoU^(1 - alpha), so p = IoU.
    assert best == pytest.approx([0.3, 0.9], abs=0.02)


@pytest.mark.parametrize("extreme", [-200.0, -20.0, 20.0, 200.0])
@pytest.mark.parametrize("settings", [*CLASS_LOSSES.values(), *GAMMAS.values()], ids=[*CLASS_LOSSES, *GAMMAS])
def test_extreme_logits_stay_finite(
    settings: config.CrossEntropy | config.Focal | config.IaBce, extreme: float
) -> None:
    class_loss = build_class_loss(settings, 3)
    logits = torch.full((1, 1, 2, class_loss.outputs), extreme, requires_grad=True)
    ious = torch.tensor([[[0.5, 0.0]]])
    loss = class_loss.loss(logits, torch.tensor([[[0, -1]]]), ious, torch.tensor(1.0)).sum()
    loss.backward()
    assert logits.grad is not None
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def test_pairwise_giou_equals_torchvision() -> None:
    first, second = (torch.cat([(c := torch.rand(n, 2)), c + torch.rand(n, 2)], 1) for n in (5, 7))
    expected = generalized_box_iou(first, second)
    torch.testing.assert_close(generalized_iou(first[:, None], second[None]), expected)


def perfect_outputs(records: Records, index: int, class_loss: ClassLoss, queries: int) -> tuple[torch.Tensor, ...]:
    """Logits and normalised boxes of queries that know a picture's truth; the last queries say no object."""
    record = records[index]
    logits = torch.full((queries, class_loss.outputs), -12.0)
    boxes = torch.full((queries, 4), 0.5)
    objects = ~record.crowd
    xyxy = torch.from_numpy(record.boxes[objects]).float()
    normalised = xyxy / torch.tensor([record.width, record.height, record.width, record.height])
    count = len(xyxy)
    boxes[:count] = box_convert(normalised, "xyxy", "cxcywh")
    logits[torch.arange(count), torch.from_numpy(record.labels[objects])] = 12.0
    if class_loss.outputs > len(records.labels):
        logits[count:, -1] = 12.0
    return logits, boxes


@pytest.mark.parametrize("kind", CLASS_LOSSES)
@pytest.mark.parametrize(("name", "most"), [("bccd", 100), ("coco53", 100), ("nuclei", 300)])
def test_truth_scores_one_and_costs_nothing(shared_data: Path, name: str, most: int, kind: str) -> None:
    records = read_records(config.Data(root=shared_data / name), "val", seed=0)
    criterion, class_loss = make_criterion(kind, len(records.labels))
    parts = []
    for index in range(len(records)):
        record = records[index]
        logits, boxes = perfect_outputs(records, index, class_loss, queries=200)
        hw = (record.height, record.width)
        found = best_detections(class_loss.scores(logits[None]), boxes[None], hw, slots=200)
        kept = (found.scores[0] > 0.5).numpy()
        parts.append(
            DetectedBoxes(
                image_ids=np.full(int(kept.sum()), record.image_id, np.int64),
                boxes=found.boxes[0].numpy()[kept].astype(np.float64),
                scores=found.scores[0].numpy()[kept].astype(np.float64),
                labels=found.labels[0].numpy()[kept],
            )
        )
        objects = ~record.crowd
        truth = Targets((torch.from_numpy(record.boxes[objects]).float(),), (torch.from_numpy(record.labels[objects]),))
        losses = criterion(QueryOutputs(logits[None, None], boxes[None, None]), truth, hw)
        assert losses.total < 2e-3
    metrics = measure(records, DetectedBoxes.concatenate(parts), most)
    assert metrics["AP" if most == 100 else f"AP@max{most}"] == pytest.approx(1.0, abs=1e-9)
