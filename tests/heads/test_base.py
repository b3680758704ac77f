"""The contract of heads: losses and predictions of an evaluation are those of two calls, from one forward pass."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from dinotune import config
from dinotune.heads.base import Head
from dinotune.heads.deformable_detr import DeformableDetrHead
from dinotune.heads.detr import DetrHead
from dinotune.heads.faster_rcnn import FasterRcnnHead
from dinotune.heads.plain_detr import PlainDetrHead
from dinotune.types import Detections, Features, Targets

WIDTH, IMAGE_HW = 16, (96, 160)


def faster_rcnn() -> tuple[Head, nn.Module]:
    settings = config.FasterRcnn(channels=16, hidden=32, slots=20)
    head = FasterRcnnHead(settings, (WIDTH,), (16,), classes=3)
    return head, head.pyramid


def detr() -> tuple[Head, nn.Module]:
    settings = config.Detr(channels=32, attention_heads=4, feedforward=48, decoder_layers=2, queries=7)
    head = DetrHead(settings, (WIDTH,), (16,), classes=3)
    return head, head.decoder_norm


def deformable_detr() -> tuple[Head, nn.Module]:
    settings = config.DeformableDetr(
        channels=32, attention_heads=4, feedforward=48, encoder_layers=1, decoder_layers=2, queries=7
    )
    head = DeformableDetrHead(settings, (WIDTH,), (16,), classes=3)
    return head, head.pyramid


def plain_detr() -> tuple[Head, nn.Module]:
    settings = config.PlainDetr(channels=32, attention_heads=4, feedforward=48, decoder_layers=2, queries=7)
    head = PlainDetrHead(settings, (WIDTH,), (16,), classes=3)
    return head, head.project


@pytest.mark.parametrize(("make", "passes"), [(faster_rcnn, 1), (detr, 2), (deformable_detr, 1), (plain_detr, 1)])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_an_evaluation_is_loss_and_prediction_of_one_forward_pass(
    make: Callable[[], tuple[Head, nn.Module]], passes: int, precision: torch.dtype
) -> None:
    """A pass runs DETR's last norm once per decoder layer, two here."""
    torch.manual_seed(0)
    head, once = make()
    head.eval()
    features = Features((torch.randn(2, WIDTH, 6, 10),), (16,), torch.randn(2, WIDTH), (), IMAGE_HW)
    boxes = torch.tensor([[10.0, 20, 90, 90], [100, 30, 150, 80]])
    targets = Targets((boxes, torch.zeros(0, 4)), (torch.tensor([0, 2]), torch.zeros(0, dtype=torch.int64)))
    calls = []
    once.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision is torch.bfloat16):
        torch.manual_seed(1)
        losses, found = head.evaluate(features, targets)
        assert len(calls) == passes
        torch.manual_seed(1)
        expected_losses, expected = head.loss(features, targets), head.predict(features)
    assert losses.values() == expected_losses.values()
    assert all(torch.equal(getattr(found, name), getattr(expected, name)) for name in ("boxes", "scores", "labels"))
    assert isinstance(found, Detections)
    assert len(found.boxes) == 2
