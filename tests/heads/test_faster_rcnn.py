"""Faster R-CNN: equal to torchvision where torchvision is right, right where its guesses are not."""

from collections import OrderedDict

import pytest
import torch
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import MultiScaleRoIAlign

from dinotune import config
from dinotune.heads.faster_rcnn import FasterRcnnHead
from dinotune.heads.faster_rcnn.levels import Anchors, RoiPooler
from dinotune.types import Features, Targets

WIDTH = 16
NO_BOXES = (torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))


def make_head(stride: int = 16, **settings: object) -> FasterRcnnHead:
    torch.manual_seed(0)
    small = {"channels": 16, "hidden": 32, "slots": 20} | settings
    return FasterRcnnHead(config.FasterRcnn.model_validate(small), (WIDTH,), (stride,), classes=3).eval()


def make_features(batch: int, image_hw: tuple[int, int], stride: int = 16) -> Features:
    torch.manual_seed(1)
    feature_map = torch.randn(batch, WIDTH, image_hw[0] // stride, image_hw[1] // stride)
    return Features((feature_map,), (stride,), torch.randn(batch, WIDTH), (), image_hw)


def some_targets() -> Targets:
    boxes = torch.tensor([[10.0, 20, 90, 110], [100, 30, 180, 120]])
    return Targets((boxes, NO_BOXES[0]), (torch.tensor([0, 2]), NO_BOXES[1]))


def test_predictions_equal_torchvision_assembled_by_hand() -> None:
    head, features = make_head(score_threshold=0.05), make_features(2, (192, 256))
    levels = OrderedDict((str(i), level) for i, level in enumerate(head._levels(features)))
    images = ImageList(torch.zeros(2, 3, 192, 256), [(192, 256)] * 2)
    rpn, roi = head.rpn, head.roi_heads
    rpn.anchor_generator = AnchorGenerator(tuple((8 * s,) for s in (4, 8, 16, 32, 64)), ((0.5, 1.0, 2.0),) * 5)
    roi.box_roi_pool = MultiScaleRoIAlign(list(levels), output_size=7, sampling_ratio=2)
    with torch.no_grad():
        proposals, _ = rpn(images, levels)
        expected, _ = roi(levels, proposals, images.image_sizes)
        found = head.predict(features)
    for index, reference in enumerate(expected):
        count = len(reference["boxes"])
        assert count > 5
        assert (found.labels[index] >= 0).sum() == count
        torch.testing.assert_close(found.boxes[index, :count], reference["boxes"])
        torch.testing.assert_close(found.scores[index, :count], reference["scores"])
        assert torch.equal(found.labels[index, :count] + 1, reference["labels"])


def test_losses_equal_torchvision_assembled_by_hand() -> None:
    head, features, targets = make_head(), make_features(2, (192, 256)), some_targets()
    levels = OrderedDict((str(i), level) for i, level in enumerate(head._levels(features)))
    images = ImageList(torch.zeros(2, 3, 192, 256), [(192, 256)] * 2)
    head.train()
    torch.manual_seed(3)
    losses = head.loss(features, targets)
    head.rpn.anchor_generator = AnchorGenerator(tuple((8 * s,) for s in (4, 8, 16, 32, 64)), ((0.5, 1.0, 2.0),) * 5)
    head.roi_heads.box_roi_pool = MultiScaleRoIAlign(list(levels), output_size=7, sampling_ratio=2)
    labelled = [{"boxes": b, "labels": c + 1} for b, c in zip(targets.boxes, targets.labels, strict=True)]
    torch.manual_seed(3)
    proposals, first = head.rpn(images, levels, labelled)
    _, second = head.roi_heads(levels, proposals, images.image_sizes, labelled)
    pairs = {
        "loss_objectness": first["loss_objectness"],
        "loss_rpn_box": first["loss_rpn_box_reg"],
        "loss_class": second["loss_classifier"],
        "loss_box": second["loss_box_reg"],
    }
    for name, expected in pairs.items():
        torch.testing.assert_close(losses.terms[name], expected, msg=name)


@pytest.mark.parametrize(("stride", "image_hw"), [(14, (518, 630)), (16, (176, 336)), (8, (120, 136))])
def test_anchors_lie_at_the_declared_strides(stride: int, image_hw: tuple[int, int]) -> None:
    head = make_head(stride)
    levels = head._levels(make_features(1, image_hw, stride))
    anchors = head.anchors(levels)
    start = 0
    for level, level_stride in zip(levels, head.strides, strict=True):
        height, width = level.shape[-2:]
        assert height * level_stride >= image_hw[0]
        assert (height - 1) * level_stride < image_hw[0]
        count = height * width * 3
        centres = (anchors[start : start + count, :2] + anchors[start : start + count, 2:]) / 2
        start += count
        assert centres.max(dim=0).values.tolist() == pytest.approx(
            [(width - 1) * level_stride, (height - 1) * level_stride]
        )
    assert start == len(anchors)


@pytest.mark.parametrize("stride", [14, 16])
def test_a_box_is_pooled_from_where_it_lies(stride: int) -> None:
    height, width = 11, 9
    level = torch.zeros(1, 1, height, width)
    level[0, 0, 8, 7] = 1.0
    pooler = RoiPooler([stride], output_size=1)
    inside = torch.tensor([[6.5 * stride, 7.5 * stride, 7.5 * stride, 8.5 * stride]])
    far = torch.tensor([[1.0 * stride, 1.0 * stride, 4.0 * stride, 4.0 * stride]])
    assert pooler([level], [inside]).item() > 0.2
    assert pooler([level], [far]).item() == 0


def test_boxes_go_to_the_level_that_fits_their_size() -> None:
    pooler = RoiPooler([4, 8, 16, 32, 64], output_size=7)
    sides = torch.tensor([10.0, 111, 112, 223, 224, 447, 448, 2000])
    boxes = torch.stack([torch.zeros(8), torch.zeros(8), sides, sides], dim=1)
    assert pooler.level_of(boxes).tolist() == [0, 0, 1, 1, 2, 2, 3, 4]


def test_seed_recipe_levels_and_anchors_are_settings() -> None:
    sizes = ((32, 64, 128), (64, 128, 256), (128, 256, 512))
    head = make_head(stride_factors=(0.5, 1, 2), anchor_sizes=sizes)
    assert head.strides == (8, 16, 32)
    level = torch.zeros(1, 16, 1, 1)
    anchors = Anchors(head.strides, sizes, (1.0,))([level, level, level])
    assert (anchors[:, 2] - anchors[:, 0]).tolist() == [size for level_sizes in sizes for size in level_sizes]


def test_slots_are_sorted_and_empty_ones_marked() -> None:
    head = make_head(slots=50)
    proposals = torch.tensor([[0.0, 0, 40, 40], [1, 1, 41, 41], [100, 100, 140, 150]])
    logits = torch.full((3, 4), -8.0)
    logits[0, 1], logits[1, 1], logits[2, 3] = 4.0, 6.0, 5.0
    found = head.postprocess(logits, torch.zeros(3, 16), [proposals, proposals[:0]], (192, 256))
    assert found.boxes.shape == (2, 50, 4)
    assert found.labels[0, :3].tolist() == [0, 2, -1]
    torch.testing.assert_close(found.boxes[0, 0], proposals[1])
    assert (found.scores[0].diff() <= 0).all()
    assert (found.labels[1] == -1).all()
    assert (found.scores[1] == 0).all()


@pytest.mark.parametrize("counts", [(0, 3), (0, 0)])
def test_pictures_without_proposals_have_empty_slots(counts: tuple[int, int]) -> None:
    head, number = make_head(), sum(counts)
    proposals = [torch.tensor([[0.0, 0, 50, 50]]).repeat(count, 1) for count in counts]
    found = head.postprocess(torch.zeros(number, 4), torch.zeros(number, 16), proposals, (64, 64))
    assert found.labels.shape == (2, 20)
    assert [bool((found.labels[image] >= 0).any()) for image in range(2)] == [count > 0 for count in counts]


def test_wrong_settings_say_what_would_work() -> None:
    with pytest.raises(ValueError, match="do not double"):
        config.FasterRcnn(stride_factors=(0.5, 2))
    with pytest.raises(ValueError, match="one list per level"):
        config.FasterRcnn(stride_factors=(0.5, 1), anchor_sizes=((32.0,),))
