"""One way to a backbone: settings in, Backbone and LoadReport out."""

from typing import Any, assert_never

import torch
from pydantic import ValidationError

from dinotune import config
from dinotune.backbones.base import Backbone, WeightsIdentity
from dinotune.backbones.convnext import ConvNextBackbone
from dinotune.backbones.shapes import ConvNextShape, VitShape, build_encoder, shape_of
from dinotune.backbones.snapshots import Statistics
from dinotune.backbones.tiny import draw_encoder, tiny_shape
from dinotune.backbones.variants import IMAGENET_MEAN, IMAGENET_STD, find_variant
from dinotune.backbones.vit import VitBackbone
from dinotune.backbones.weights import LoadedEncoder, LoadReport, load_encoder
from dinotune.config.problems import explain
from dinotune.errors import SettingsError


def build_backbone(settings: config.Backbone, *, seed: int = 0) -> tuple[Backbone, LoadReport]:
    """The backbone that the settings describe, on the CPU in eval mode, and what was loaded.

    `seed` matters for `tiny-…` backbones only; the global random state is left alone.

    Raises:
        WeightsError: weights cannot be found, reached or loaded completely.
        SettingsError: blocks, stages or a tiny shape that this backbone cannot have.
    """
    if settings.id.startswith("tiny-"):
        loaded = draw_encoder(settings.id, settings.tiny, seed)
    else:
        loaded = load_encoder(settings.id)
    return _assemble(loaded, settings), loaded.report


def sketch_backbone(settings: config.Backbone) -> Backbone | None:
    """The backbone without weights, on the meta device; none where only the weights would tell its shape.

    Raises:
        SettingsError: blocks, stages or a tiny shape that this backbone cannot have.
    """
    variant = find_variant(settings.id)
    if settings.id.startswith("tiny-"):
        shape = tiny_shape(settings.id, settings.tiny or config.TinyShape())
    elif variant is not None:
        shape = shape_of(variant)
    else:
        return None
    encoder = build_encoder(shape)
    parameters = sum(parameter.numel() for parameter in encoder.parameters())
    statistics = Statistics(IMAGENET_MEAN, IMAGENET_STD, "ImageNet")
    report = LoadReport(settings.id, (), "no weights", None, parameters, statistics)
    with torch.device("meta"):
        return _assemble(LoadedEncoder(encoder, shape, report), settings)


def _assemble(loaded: LoadedEncoder, settings: config.Backbone) -> Backbone:
    report = loaded.report
    identity = WeightsIdentity(settings.id, report.sha256)
    backbone: Backbone
    match loaded.shape:
        case VitShape() as shape:
            backbone = VitBackbone(loaded.encoder, shape, settings, report.statistics, identity)
        case ConvNextShape() as shape:
            backbone = ConvNextBackbone(loaded.encoder, shape, settings, report.statistics, identity)
        case _:
            assert_never(loaded.shape)
    return backbone.eval()


def load_backbone(id_: str, *, seed: int = 0, **settings: Any) -> Backbone:
    """A backbone for use without a head, in eval mode on the CPU; prints what was loaded.

    Args:
        id_: As `backbone.id`: hub id, snapshot folder, weight file or `tiny-…`.
        seed: Of the random weights of a `tiny-…` backbone.
        settings: Other fields of `config.Backbone`, e.g. ``blocks=[2, 5, 8, 11]``.

    Returns:
        ``backbone(images) -> Features`` for RGB floats in [0, 1], ``[batch, 3, height, width]``.

    Raises:
        WeightsError: weights cannot be found, reached or loaded completely.
        SettingsError: unknown or wrong settings, and what this backbone cannot have.
    """
    tree = {"backbone": {"id": id_, **settings}}
    try:
        experiment = config.Experiment.model_validate(tree)
    except ValidationError as error:
        raise SettingsError("\n".join(explain(error, tree, lambda _: ""))) from error
    backbone, report = build_backbone(experiment.backbone, seed=seed)
    print(report.describe())
    return backbone
