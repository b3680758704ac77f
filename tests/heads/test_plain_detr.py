"""Plain-DETR: one map and boxes that move in its frame; queries, layers and pictures stay apart."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from dinotune import config
from dinotune.data.splits import read_records
from dinotune.heads.box_codes import RelativeBoxes
from dinotune.heads.plain_detr import PlainDetrHead
from dinotune.heads.plain_detr.head import BiasedAttention
from dinotune.heads.queries import QueryOutputs
from dinotune.tasks.detection.coco_metrics import measure
from dinotune.tasks.detection.detected_boxes import DetectedBoxes
from dinotune.testing.batches import random_targets
from dinotune.types import Features, Targets
from tests.heads.small import IMAGE_HW, QUERY_HEAD, WIDTH, make_features, make_targets, one, shaken
from tests.heads.test_set_criterion import perfect_outputs

SMALL = QUERY_HEAD | {
    "encoder_layers": 2,
    "decoder_layers": 3,
    "one_to_many_queries": 12,
    "one_to_many_repeats": 2,
    "bias_hidden": 16,
}


def make_head(**settings: object) -> PlainDetrHead:
    torch.manual_seed(0)
    return PlainDetrHead(config.PlainDetr.model_validate(SMALL | settings), (WIDTH,), (16,), classes=3).eval()


def answers(head: PlainDetrHead, features: Features) -> QueryOutputs:
    with torch.no_grad():
        outputs: QueryOutputs = head(features)
    return outputs


@pytest.mark.parametrize("two_stage", [True, False])
def test_queries_differ(two_stage: bool) -> None:
    outputs = answers(shaken(make_head(two_stage=two_stage)), make_features(1))
    for values in (outputs.pred_logits, outputs.pred_boxes):
        apart = (values[0].unsqueeze(0) - values[0].unsqueeze(1)).abs().amax(-1) + torch.eye(7)
        assert (apart > 1e-4).all()


def test_layers_are_distinct() -> None:
    head = make_head()
    layers = [*head.encoder, *head.decoder.layers, *head.decoder.locate]
    names = [{id(p) for p in layer.parameters()} for layer in layers]
    assert len(set.union(*names)) == sum(len(ids) for ids in names)


def test_a_batch_predicts_what_its_images_predict_alone() -> None:
    head, features = shaken(make_head()), make_features(3)
    with torch.no_grad():
        together = head.predict(features)
        for index in range(3):
            alone = head.predict(one(features, index))
            torch.testing.assert_close(together.boxes[index], alone.boxes[0], rtol=1e-4, atol=1e-3)
            torch.testing.assert_close(together.scores[index], alone.scores[0], rtol=1e-4, atol=1e-5)


def test_attention_reads_the_box() -> None:
    """A query that begins with another box reads the map differently, by the bias alone."""
    head, features = make_head(), make_features(1)
    layer = head.get_submodule("decoder.layers.0.cross_attention")
    assert isinstance(layer, BiasedAttention)
    queries, positions = torch.randn(2, 1, 4, 32)
    boxes = torch.rand(1, 4, 4) * 0.5 + 0.2
    with torch.no_grad():
        memory = head.memory(features)
        here, there = (layer(queries, positions, b, memory) for b in (boxes, boxes * 0.6))
        assert (here - there).abs().amax(-1).min() > 1e-4
        for network in (layer.bias.along_x, layer.bias.along_y):
            network.get_parameter("2.weight").zero_()
        here, there = (layer(queries, positions, b, memory) for b in (boxes, boxes * 0.6))
        torch.testing.assert_close(here, there)


@pytest.mark.parametrize("class_loss", ["focal", "ia_bce"])
@pytest.mark.parametrize("objects", [(2, 0), (0, 0), (20, 3)])
def test_any_number_of_objects_teaches_every_parameter(class_loss: str, objects: tuple[int, int]) -> None:
    """Pictures without objects, batches without any, and more objects than queries."""
    head = shaken(make_head(class_loss=class_loss, denoising_queries=4)).train()
    targets = random_targets(objects, 3, IMAGE_HW, torch.Generator().manual_seed(3))
    losses = head.loss(make_features(2), targets)
    assert torch.isfinite(losses.total)
    losses.total.backward()
    wrong = [name for name, p in head.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert wrong == []
    if sum(objects):
        still = [name for name, p in head.named_parameters() if p.grad is not None and p.grad.norm() == 0]
        # A row of classes that no noised object of this batch has.
        assert [name for name in still if name != "denoising.class_content"] == []


def test_small_pictures_have_fewer_cells_than_queries() -> None:
    head, features = make_head(queries=30, one_to_many_queries=40), make_features(2, (64, 64))
    assert answers(head, features).pred_boxes.shape == (2, 16, 4)
    losses = head.train().loss(features, Targets((torch.zeros(0, 4),) * 2, (torch.zeros(0, dtype=torch.int64),) * 2))
    assert torch.isfinite(losses.total)


@pytest.mark.parametrize("prior", [0.01, 0.05])
def test_sigmoids_start_at_their_prior(prior: float) -> None:
    head = make_head(class_loss={"kind": "focal", "prior": prior}, queries=50)
    mean = head.class_loss.scores(answers(head, make_features(2)).pred_logits).mean().item()
    assert prior / 3 < mean < 3 * prior


def test_boxes_begin_where_cells_propose_them() -> None:
    """The last layers of boxes begin at zero: squares of a tenth of the sides around cell centres."""
    boxes = answers(make_head(), make_features(1)).pred_boxes[0]
    assert (boxes[:, 2:] == 0.1).all()
    centres = boxes[:, :2] * torch.tensor([10, 6]) - 0.5
    torch.testing.assert_close(centres, centres.round(), rtol=0, atol=1e-4)


def test_losses_and_predictions_are_fp32_under_autocast() -> None:
    head, features = shaken(make_head()), make_features(2)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        losses, found = head.loss(features, make_targets(2, 0)), head.predict(features)
    assert {value.dtype for value in losses.terms.values()} == {torch.float32}
    assert found.boxes.dtype == found.scores.dtype == torch.float32


def test_steps_are_the_distances_that_they_moved() -> None:
    code, references = RelativeBoxes(), torch.rand(20, 4) + 0.05
    steps = torch.randn(20, 4)
    torch.testing.assert_close(
        code.difference(code.move(references, steps), references, references), steps, rtol=1e-4, atol=1e-5
    )


def test_truth_as_answer_costs_nothing_and_scores_one(shared_data: Path) -> None:
    records = read_records(config.Data(root=shared_data / "bccd"), "val", seed=0)
    head = PlainDetrHead(config.PlainDetr(), (WIDTH,), (16,), len(records.labels))
    parts = []
    for index in range(len(records)):
        record = records[index]
        logits, boxes = perfect_outputs(records, index, head.class_loss, queries=40)
        outputs = QueryOutputs(logits[None, None], boxes[None, None], torch.full((1, 1, 40, 4), 0.3))
        truth = Targets((torch.from_numpy(record.boxes).float(),), (torch.from_numpy(record.labels),))
        image_hw = (record.height, record.width)
        assert head.criterion(outputs, truth, image_hw).total < 2e-3
        found = head.postprocess(outputs, image_hw)
        ids = torch.full_like(found.labels[0], record.image_id)
        columns = (ids, found.boxes[0].double(), found.scores[0].double(), found.labels[0])
        parts.append(DetectedBoxes(*(column.numpy() for column in columns)))
    assert measure(records, DetectedBoxes.concatenate(parts), 100)["AP"] == pytest.approx(1.0, abs=1e-9)


def flipped(boxes_cxcywh: Tensor) -> Tensor:
    return torch.cat([1 - boxes_cxcywh[..., :1], boxes_cxcywh[..., 1:]], dim=-1)


def test_losses_are_the_same_for_mirrored_and_for_resized_pictures() -> None:
    """Boxes are shares of the network input, and L1 distances shares of boxes: neither pixels nor sides matter."""
    head = make_head()
    targets = random_targets([4], 3, IMAGE_HW, torch.Generator().manual_seed(1))
    torch.manual_seed(2)
    outputs = QueryOutputs(torch.randn(2, 1, 7, 3), *(torch.rand(2, 2, 1, 7, 4) * 0.5 + 0.2))
    expected = head.criterion(outputs, targets, IMAGE_HW).values()
    mirror = torch.tensor([-1, 1, -1, 1]) * targets.boxes[0][:, [2, 1, 0, 3]] + torch.tensor([160, 0, 160, 0])
    references = outputs.references_cxcywh
    assert references is not None
    other_side = QueryOutputs(outputs.logits, flipped(outputs.boxes_cxcywh), flipped(references))
    mirrored = head.criterion(other_side, Targets((mirror,), targets.labels), IMAGE_HW).values()
    larger = Targets((targets.boxes[0] * torch.tensor([3, 2, 3, 2]),), targets.labels)
    resized = head.criterion(outputs, larger, (192, 480)).values()
    assert mirrored == pytest.approx(expected, rel=1e-4)
    assert resized == pytest.approx(expected, rel=1e-4)
    assert head.criterion(outputs, larger, IMAGE_HW).values() != pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize("strides", [(14,), (16, 16), (4, 8, 16, 32), (32,)])
def test_taps_of_any_strides_become_one_map(strides: tuple[int, ...]) -> None:
    """Its cells are patches, or 16 pixels wide for ConvNeXt."""
    stride = min(max(strides), 16)
    image_hw = (6 * max(strides), 10 * max(strides))
    head = PlainDetrHead(config.PlainDetr.model_validate(SMALL), (WIDTH,) * len(strides), strides, classes=3).eval()
    maps = tuple(torch.randn(1, WIDTH, image_hw[0] // each, image_hw[1] // each) for each in strides)
    features = Features(maps, strides, torch.randn(1, WIDTH), (), image_hw)
    with torch.no_grad():
        assert head.memory(features).level_shapes == ((image_hw[0] // stride, image_hw[1] // stride),)
        assert head.predict(features).boxes.shape == (1, 21, 4)
