"""Tiny backbones with random weights: for tests, for the quickstart, and for training from nothing."""

import torch

from dinotune import config
from dinotune.backbones.shapes import ConvNextShape, Shape, VitShape, build_encoder
from dinotune.backbones.snapshots import Statistics
from dinotune.backbones.variants import IMAGENET_MEAN, IMAGENET_STD, TINY_IDS
from dinotune.backbones.weights import LoadedEncoder, LoadReport
from dinotune.errors import SettingsError


def tiny_shape(id_: str, tiny: config.TinyShape) -> Shape:
    """Shape of a `tiny-…` backbone: DINO's architecture, small.

    Raises:
        SettingsError: an unknown name, or a width, depth or size that the architecture cannot have.
    """
    if id_ not in TINY_IDS:
        raise SettingsError(f'backbone.id: there is no "{id_}"; use one of {", ".join(TINY_IDS)}')
    if tiny.width % 32:
        raise SettingsError(
            f"backbone.tiny.width: {tiny.width} is not a multiple of 32; use {-(-tiny.width // 32) * 32}"
        )
    if id_ == "tiny-convnext":
        if tiny.depth != 4:
            raise SettingsError(f"backbone.tiny.depth: tiny-convnext has one block per stage; use 4, not {tiny.depth}")
        return ConvNextShape(tuple(tiny.width * factor for factor in (1, 2, 4, 8)), (1, 1, 1, 1))
    rotary = id_ == "tiny-dinov3"
    if not rotary and tiny.image_size % tiny.patch_size:
        fitting = -(-tiny.image_size // tiny.patch_size) * tiny.patch_size
        raise SettingsError(
            f"backbone.tiny.image_size: {tiny.image_size} is not a multiple of the patch {tiny.patch_size}; use {fitting}"
        )
    return VitShape(
        rotary=rotary,
        width=tiny.width,
        depth=tiny.depth,
        heads=tiny.width // (64 if tiny.width % 64 == 0 and tiny.width >= 384 else 32),
        patch_size=tiny.patch_size,
        registers=0 if id_ == "tiny-dinov2" else 4,
        mlp_hidden=4 * tiny.width,
        gated_mlp=False,
        grid=0 if rotary else tiny.image_size // tiny.patch_size,
        norm_eps=1e-5 if rotary else 1e-6,
    )


def draw_encoder(id_: str, tiny: config.TinyShape | None, seed: int) -> LoadedEncoder:
    """Encoder with random weights (timm's truncated normal, LayerScale 1) that depend on `seed` alone."""
    shape = tiny_shape(id_, tiny or config.TinyShape())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = build_encoder(shape, device="cpu")
    report = LoadReport(
        id=id_,
        files=(),
        found=f"random weights, seed {seed}",
        sha256=None,
        parameters=sum(parameter.numel() for parameter in encoder.parameters()),
        statistics=Statistics(IMAGENET_MEAN, IMAGENET_STD, "ImageNet"),
    )
    return LoadedEncoder(encoder, shape, report)
