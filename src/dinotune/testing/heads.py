"""Checks of a head on a small frozen backbone with random weights."""

import copy
from collections.abc import Callable

from dinotune.backbones.base import Backbone
from dinotune.backbones.load import build_backbone
from dinotune.heads.base import Head
from dinotune.model import Model
from dinotune.testing.models import HEAD_ONLY_CHECKS, MODEL_CHECKS, TINY, ModelTrial
from dinotune.testing.tools import run_all

MakeHead = Callable[[tuple[int, ...], tuple[int, ...], int], Head]
"""From the taps' channels and strides and the number of classes: ``partial(WindowHead, {"window": 5})``."""

HEAD_CHECKS = {**MODEL_CHECKS, **HEAD_ONLY_CHECKS}
"""Each takes a `head_trial`."""


def check_head(make_head: MakeHead, *, backbone: Backbone | None = None, many: int = 150) -> None:
    """Run every check of `HEAD_CHECKS`.

    Args:
        make_head: Makes a head with fresh weights from channels, strides and classes, e.g. ``partial(MyHead, options)``.
        backbone: What it stands on; none takes `tiny-dinov3` with one tap.
        many: Objects in a crowded picture: more than the head can find.

    Raises:
        AssertionError: names all checks that failed, a line each.
    """
    run_all(HEAD_CHECKS, head_trial(make_head, backbone=backbone, many=many))


def head_trial(make_head: MakeHead, *, backbone: Backbone | None = None, many: int = 150) -> ModelTrial:
    """What a single check takes, e.g. as parameter of a test."""
    ground = backbone or build_backbone(TINY)[0]

    def make(classes: int) -> Model:
        return Model(copy.deepcopy(ground), make_head(ground.channels, ground.strides, classes))

    return ModelTrial(make, many=many)
