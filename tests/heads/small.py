"""Small features and targets that the heads of the DETR family are tried on."""

from dataclasses import replace
from typing import TypeVar

import torch
from torch import nn

from dinotune.testing.tools import awake
from dinotune.types import Features, Targets

WIDTH = 16
"""Channels of the one tap; its stride is 16."""
IMAGE_HW = (96, 160)
QUERY_HEAD = {"channels": 32, "attention_heads": 4, "feedforward": 48, "queries": 7}

Head = TypeVar("Head", bound=nn.Module)


def make_features(batch: int, image_hw: tuple[int, int] = IMAGE_HW) -> Features:
    torch.manual_seed(1)
    feature_map = torch.randn(batch, WIDTH, image_hw[0] // 16, image_hw[1] // 16)
    return Features((feature_map,), (16,), torch.randn(batch, WIDTH), (), image_hw)


def one(features: Features, index: int) -> Features:
    """A picture of a batch alone."""
    rows = slice(index, index + 1)
    return replace(features, maps=tuple(m[rows] for m in features.maps), cls=features.cls[rows])


def make_targets(*counts: int) -> Targets:
    """Pictures with these numbers of objects of three classes."""
    torch.manual_seed(3)
    boxes = tuple(torch.rand(n, 2).repeat(1, 2) * 40 + torch.tensor([0.0, 0, 30, 20]) for n in counts)
    return Targets(boxes, tuple(torch.randint(0, 3, (n,)) for n in counts))


def shaken(head: Head) -> Head:
    """The head with something in the tensors that begin at zero."""
    awake(head)
    return head
