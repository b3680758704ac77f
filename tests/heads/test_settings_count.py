"""No setting of a head is read and ignored: each changes what is built, what is lost or what is predicted."""

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch

from dinotune import config
from dinotune.backbones.load import build_backbone
from dinotune.build import build_head
from dinotune.config.reference import settings_reference
from dinotune.testing.batches import random_targets

SMALL: dict[str, dict[str, Any]] = {
    "faster_rcnn": {
        "channels": 16,
        "hidden": 32,
        "stride_factors": [0.5, 1],
        "rpn_candidates_train": 60,
        "rpn_candidates_predict": 60,
        "rpn_proposals_train": 50,
        "rpn_proposals_predict": 50,
        "rpn_batch": 32,
        "roi_batch": 32,
    },
    "detr": {
        "channels": 32,
        "attention_heads": 4,
        "feedforward": 48,
        "encoder_layers": 1,
        "decoder_layers": 2,
        "queries": 6,
        "slots": 10,
    },
}

SMALL["linear_classifier"] = {}
SMALL["deformable_detr"] = SMALL["detr"] | {
    "stride_factors": [1, 2],
    "dropout": 0.1,
    "sampling_points": 2,
    "denoising_queries": 3,
    "one_to_many_queries": 9,
}
SMALL["plain_detr"] = SMALL["detr"] | {"dropout": 0.1, "denoising_queries": 3, "one_to_many_queries": 9}

SMALL["linear_segmenter"] = {}
SMALL["mask_decoder"] = {
    "channels": 32,
    "attention_heads": 4,
    "feedforward": 48,
    "decoder_layers": 2,
    "queries": 6,
    "dropout": 0.1,
    "query_start": "learned",
}
SMALL["instance_mask_decoder"] = SMALL["mask_decoder"] | {"query_start": "tokens", "slots": 10, "cost_class": 500}

CHANGES: dict[str, dict[str, Any]] = {
    "faster_rcnn": {
        "channels": 24,
        "stride_factors": [1, 2],
        "anchor_sizes": [[20], [50]],
        "aspect_ratios": [1.0],
        "rpn_candidates_train": 20,
        "rpn_candidates_predict": 20,
        "rpn_proposals_train": 10,
        "rpn_proposals_predict": 10,
        "rpn_nms_threshold": 0.3,
        "rpn_batch": 8,
        "roi_batch": 8,
        "roi_positives": 0.05,
        "roi_size": 5,
        "hidden": 48,
        "score_threshold": 0.4,
        "nms_threshold": 0.2,
        "slots": 7,
        "weight_objectness": 2,
        "weight_rpn_box": 2,
        "weight_class": 2,
        "weight_box": 2,
    },
    "detr": {
        "channels": 64,
        "encoder_layers": 0,
        "decoder_layers": 1,
        "attention_heads": 2,
        "feedforward": 64,
        "temperature": 10000,
        "dropout": 0,
        "queries": 8,
        "slots": 5,
        "class_loss": "focal",
        "cost_l1": 0,
        "cost_giou": 50,
        "weight_l1": 1,
        "weight_giou": 1,
        "auxiliary_losses": False,
    },
    "deformable_detr": {
        "two_stage": False,
        "mixed_selection": False,
        "box_refinement": False,
        "look_forward_twice": False,
        "denoising_queries": 9,
        "denoising_label_noise": 1,
        "denoising_box_noise": 0.4,
        "weight_denoising": 2,
        "one_to_many_queries": 0,
        "one_to_many_repeats": 2,
        "weight_one_to_many": 2,
        "stride_factors": [0.5, 1],
        "attention": "standard",
        "sampling_points": 3,
        "modulation": False,
    },
    "linear_classifier": {"pooling": "cls", "label_smoothing": 0.1, "dropout": 0.3},
    "linear_segmenter": {"norm": "group", "label_smoothing": 0.1, "dropout": 0.3},
    "mask_decoder": {
        "channels": 64,
        "decoder_layers": 1,
        "attention_heads": 2,
        "feedforward": 64,
        "dropout": 0,
        "queries": 8,
        "query_start": "tokens",
        "points": 100,
        "no_object_weight": 0.5,
        "cost_class": 500,
        "cost_mask": 0,
        "cost_dice": 500,
        "weight_class": 1,
        "weight_mask": 1,
        "weight_dice": 1,
        "auxiliary_losses": False,
    },
    "detr.class_loss.cross_entropy": {"no_object_weight": 0.5, "cost_class": 50, "weight_class": 2},
    "detr.class_loss.focal": {"alpha": 0.5, "gamma": 1, "prior": 0.1, "cost_class": 50, "weight_class": 1},
    "detr.class_loss.ia_bce": {"alpha": 0.5, "gamma": 1, "prior": 0.1, "cost_class": 50, "weight_class": 1},
}
CHANGES["deformable_detr"] |= CHANGES["detr"] | {"class_loss": "ia_bce"}
CHANGES["instance_mask_decoder"] = CHANGES["mask_decoder"] | {"query_start": "learned", "slots": 5}
CHANGES["instance_mask_decoder"] |= {"cost_class": 0, "cost_mask": 1e6, "cost_dice": 1e6}
OF_DEFORMABLE_DETR = ("stride_factors", "attention", "sampling_points", "modulation")
CHANGES["plain_detr"] = {
    key: value for key, value in CHANGES["deformable_detr"].items() if key not in OF_DEFORMABLE_DETR
}
CHANGES["plain_detr"] |= {"bias_hidden": 64, "weight_l1": 5, "cost_giou": 500}


def observed(kind: str, settings: dict[str, Any]) -> list[float]:
    """Losses in training mode, the norm of their gradient, and predictions, of a head drawn from one seed."""
    backbone, _ = build_backbone(config.Backbone(id="tiny-dinov3", tiny=config.TinyShape(width=32, depth=2)))
    page = config.Experiment.model_validate({"head": {"kind": kind, **SMALL[kind], **settings}})
    torch.manual_seed(0)
    head = build_head(page.head, backbone, 3)
    torch.manual_seed(1)
    with torch.no_grad():
        features = backbone(torch.rand(2, 3, 96, 128))
    boxes = torch.tensor([[10.0, 20, 50, 60], [60, 30, 120, 80], [5, 5, 90, 40]])
    pixels = random_targets([3, 1], 3, (96, 128), torch.Generator().manual_seed(3))
    labels = (torch.tensor([0, 2, 1]), torch.tensor([1]))
    targets = replace(pixels, boxes=(boxes, boxes[:1]), labels=labels, classes=torch.tensor([2, 0]))
    torch.manual_seed(2)
    losses = head.train().loss(features, targets)
    # Some settings only say which way gradients go.
    gradients = torch.autograd.grad(losses.total, list(head.parameters()), allow_unused=True)
    norm = torch.stack([gradient.norm() for gradient in gradients if gradient is not None]).norm()
    with torch.no_grad():
        found = head.eval().predict(features)
    kinds = [tensor.flatten() for tensor in vars(found).values() if tensor.is_floating_point()]
    return [*losses.values().values(), norm.item(), *torch.cat(kinds).tolist()]


@pytest.mark.parametrize("place", CHANGES)
def test_no_setting_is_forgotten(place: str) -> None:
    head, *below = place.split(".")
    prefix, kind = ("head.", head) if not below else (f"head.{below[0]}.", below[1])
    keys = {
        row.key.removeprefix(prefix) for row in settings_reference() if row.key.startswith(prefix) and row.kind == kind
    }
    assert {key for key in keys if "." not in key} - {"kind"} == set(CHANGES[place])


def context_of(place: str) -> tuple[str, dict[str, Any]]:
    """The head at a place, and the settings under which the place exists."""
    head, *below = place.split(".")
    return head, {below[0]: {"kind": below[1]}} if below else {}


@cache
def unchanged(place: str) -> list[float]:
    """What is observed before anything changes."""
    return observed(*context_of(place))


@pytest.mark.parametrize("place", CHANGES)
def test_what_is_observed_is_the_same_twice(place: str) -> None:
    assert unchanged(place) == observed(*context_of(place))


@pytest.mark.parametrize(("place", "key"), [(place, key) for place, changes in CHANGES.items() for key in changes])
def test_the_setting_changes_something(place: str, key: str) -> None:
    head, context = context_of(place)
    change = {key: CHANGES[place][key]}
    changed = {name: section | change for name, section in context.items()} or change
    assert observed(head, changed) != unchanged(place)
