"""Layers of Deformable DETR and its losses equal those of transformers, with the same weights."""

from collections.abc import Mapping
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torchvision.ops import box_convert
from transformers import DeformableDetrConfig
from transformers.loss.loss_deformable_detr import DeformableDetrForObjectDetectionLoss
from transformers.models.deformable_detr.modeling_deformable_detr import (
    DeformableDetrDecoderLayer,
    DeformableDetrEncoderLayer,
)

from dinotune import config
from dinotune.heads.class_losses import build_class_loss
from dinotune.heads.deformable_detr.layers import DeformableCrossAttention, DeformableEncoderLayer
from dinotune.heads.queries import QueryOutputs
from dinotune.heads.set_criterion import SetCriterion
from dinotune.heads.two_stage import Memory, grid_anchors
from dinotune.heads.two_stage.decoder import BoxDecoderLayer
from dinotune.types import Targets

CHANNELS, POINTS = 32, 3
SHAPES = ((5, 7), (3, 4))
CELLS = sum(height * width for height, width in SHAPES)
IMAGE_HW = (60, 100)
OURS = config.DeformableDetr.model_validate(
    {
        "channels": CHANNELS,
        "attention_heads": 4,
        "feedforward": 48,
        "sampling_points": POINTS,
        "stride_factors": [1, 2],
    }
)
THEIRS = DeformableDetrConfig(
    d_model=CHANNELS,
    encoder_attention_heads=4,
    decoder_attention_heads=4,
    encoder_ffn_dim=48,
    decoder_ffn_dim=48,
    encoder_n_points=POINTS,
    decoder_n_points=POINTS,
    num_feature_levels=len(SHAPES),
    dropout=0.0,
)
DEFORMABLE = {
    "values": "value_proj",
    "offsets": "sampling_offsets",
    "weights": "attention_weights",
    "output": "output_proj",
}
FEEDFORWARD = {
    "feedforward.layers.0": "mlp.fc1",
    "feedforward.layers.3": "mlp.fc2",
    "feedforward.norm": "final_layer_norm",
}


def copy_weights(ours: nn.Module, theirs: nn.Module, names: Mapping[str, str]) -> None:
    """Random weights, the same in both; modules are paired by their names."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(std=0.3)
    for own, other in names.items():
        ours.get_submodule(own).load_state_dict(theirs.get_submodule(other).state_dict())


def make_memory() -> Memory:
    torch.manual_seed(1)
    anchors = grid_anchors(SHAPES, [0.1, 0.2], torch.device("cpu"))
    return Memory(torch.randn(2, CELLS, CHANNELS), anchors, SHAPES, torch.randn(CELLS, CHANNELS))


def levels_of(memory: Memory) -> dict[str, object]:
    """What transformers' layers want to know of the levels."""
    shapes = torch.tensor(memory.level_shapes)
    return {"spatial_shapes": shapes, "spatial_shapes_list": list(memory.level_shapes), "level_start_index": None}


def test_an_encoder_layer_equals_transformers() -> None:
    ours, theirs = DeformableEncoderLayer(OURS), DeformableDetrEncoderLayer(THEIRS)
    names = {f"attention.{own}": f"self_attn.{other}" for own, other in DEFORMABLE.items()}
    copy_weights(ours, theirs, {**names, "attention.norm": "self_attn_layer_norm", **FEEDFORWARD})
    memory = make_memory()
    centres = memory.anchors_cxcywh[None, :, None, :2].expand(2, -1, len(SHAPES), -1)

    def expected(positions: Tensor) -> Tensor:
        answer: Tensor = theirs(memory.tokens, None, positions[None], centres, **levels_of(memory))
        return answer

    assert memory.positions is not None
    with torch.no_grad():
        found = ours(memory)
        torch.testing.assert_close(found, expected(memory.positions), rtol=1e-5, atol=1e-5)
        assert (found - expected(0 * memory.positions)).abs().max() > 1e-2, "positions matter"


def test_a_decoder_layer_equals_transformers() -> None:
    ours, theirs = BoxDecoderLayer(OURS, DeformableCrossAttention(OURS)), DeformableDetrDecoderLayer(THEIRS)
    names = {f"cross_attention.attention.{own}": f"encoder_attn.{other}" for own, other in DEFORMABLE.items()}
    names |= {"cross_attention.attention.norm": "encoder_attn_layer_norm", **FEEDFORWARD}
    names |= {"self_attention.norm": "self_attn_layer_norm", "self_attention.attend.out_proj": "self_attn.o_proj"}
    copy_weights(ours, theirs, names)
    attend, projections = (
        ours.self_attention.attend,
        [theirs.self_attn.q_proj, theirs.self_attn.k_proj, theirs.self_attn.v_proj],
    )
    with torch.no_grad():
        attend.in_proj_weight.copy_(torch.cat([each.weight for each in projections]))
        attend.in_proj_bias.copy_(torch.cat([each.bias for each in projections]))
    memory = make_memory()
    queries, positions = torch.randn(2, 2, 6, CHANNELS)
    boxes = torch.rand(2, 6, 4) * 0.5 + 0.2

    def expected(boxes: Tensor) -> Tensor:
        references = boxes[:, :, None].expand(-1, -1, len(SHAPES), -1)
        answer: Tensor = theirs(
            queries, positions, references, encoder_hidden_states=memory.tokens, **levels_of(memory)
        )
        return answer

    with torch.no_grad():
        found = ours(queries, positions, boxes, memory, None)
        torch.testing.assert_close(found, expected(boxes), rtol=1e-5, atol=1e-5)
        larger = boxes * torch.tensor([1, 1, 1.1, 1.1])
        assert (found - expected(larger)).abs().max() > 1e-2, "sides of boxes matter"


@pytest.mark.parametrize("counts", [(3, 2), (1, 0), (8, 1)])
def test_losses_equal_transformers(counts: tuple[int, int]) -> None:
    """Of every decoder layer, with the same matches; the last picture set has more objects than queries."""
    settings, classes, layers = config.DeformableDetr(), 4, 3
    criterion = SetCriterion(settings, build_class_loss(settings.class_loss, classes))
    torch.manual_seed(2)
    outputs = QueryOutputs(torch.randn(layers, 2, 6, classes), torch.rand(layers, 2, 6, 4) * 0.5 + 0.2)
    boxes = tuple(torch.cat([(corner := torch.rand(n, 2) * 30), corner + 5 + torch.rand(n, 2) * 25], 1) for n in counts)
    targets = Targets(boxes, tuple(torch.randint(0, classes, (n,)) for n in counts))
    shares = [box_convert(b / torch.tensor([100, 60, 100, 60]), "xyxy", "cxcywh") for b in boxes]
    _, theirs, _ = DeformableDetrForObjectDetectionLoss(  # type: ignore[no-untyped-call]
        outputs.pred_logits,
        [{"class_labels": labels, "boxes": b} for labels, b in zip(targets.labels, shares, strict=True)],
        torch.device("cpu"),
        outputs.pred_boxes,
        SimpleNamespace(
            class_cost=2,
            bbox_cost=5,
            giou_cost=2,
            bbox_loss_coefficient=5,
            giou_loss_coefficient=2,
            num_labels=classes,
            focal_alpha=0.25,
            auxiliary_loss=True,
            decoder_layers=layers,
        ),
        outputs.logits,
        outputs.boxes_cxcywh,
    )
    weights = {"loss_ce": 2, "loss_bbox": 5, "loss_giou": 2}
    expected = {name: weight * theirs[name] for name, weight in weights.items()}
    auxiliary = [weight * theirs[f"{name}_{i}"] for name, weight in weights.items() for i in range(layers - 1)]
    ours = criterion(outputs, targets, IMAGE_HW).terms
    torch.testing.assert_close(
        list(ours.values()), [*expected.values(), torch.stack(auxiliary).sum()], rtol=1e-5, atol=1e-6
    )
