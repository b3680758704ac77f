"""Deformable DETR (Zhu et al. 2021): box queries read the levels of a pyramid around their boxes."""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dinotune import config
from dinotune.heads.deformable_detr.layers import (
    DeformableCrossAttention,
    DeformableEncoderLayer,
    StandardCrossAttention,
    StandardEncoderLayer,
)
from dinotune.heads.deformable_detr.pyramid import LightPyramid
from dinotune.heads.positions import sine_positions
from dinotune.heads.two_stage import Memory, TwoStageHead, grid_anchors
from dinotune.types import Features

ANCHOR_SIDE = 0.1
"""Side of the box around a cell at the backbone's own stride, as a share of the network input; 0.05 at half of it (Zhu et al. 2021, appendix A.4)."""
OFFSETS_FACTOR = 0.1
"""Places of the points follow at a tenth of the learning rate (Zhu et al. 2021, section 5)."""


class DeformableDetrHead(TwoStageHead):
    """Pyramid, encoder (none with `encoder_layers: 0`) and decoder with deformable or standard attention."""

    def __init__(
        self, settings: config.DeformableDetr, channels: Sequence[int], strides: Sequence[int], classes: int
    ) -> None:
        deformable = settings.attention == "deformable"
        cross_attention = DeformableCrossAttention if deformable else StandardCrossAttention
        super().__init__(settings, classes, partial(cross_attention, settings))
        self.factors = settings.stride_factors
        self.pyramid = LightPyramid(channels, strides, settings.channels, self.factors)
        # Points are looked up by place, so that only attention that compares contents needs positions of cells.
        compares = settings.encoder_layers > 0 or not deformable
        levels = torch.randn(len(self.factors), settings.channels)
        self.level_positions = nn.Parameter(levels) if compares else None
        encoder_layer = DeformableEncoderLayer if deformable else StandardEncoderLayer
        self.encoder = nn.ModuleList(encoder_layer(settings) for _ in range(settings.encoder_layers))

    def memory(self, features: Features) -> Memory:
        """The cells of all levels, after they looked at each other."""
        levels = self.pyramid(features)
        shapes = tuple((level.shape[2], level.shape[3]) for level in levels)
        device = levels[0].device
        memory = Memory(
            tokens=torch.cat([level.flatten(2) for level in levels], dim=2).transpose(1, 2),
            anchors_cxcywh=grid_anchors(shapes, [ANCHOR_SIDE * factor for factor in self.factors], device),
            level_shapes=shapes,
            positions=self._positions(shapes, device),
        )
        for layer in self.encoder:
            memory = dataclasses.replace(memory, tokens=layer(memory))
        return memory

    def learning_rate_factors(self) -> Mapping[str, float]:
        """Learned boxes and places of points learn slower."""
        offsets = (name for name, _ in self.named_parameters() if ".offsets." in name)
        return {**super().learning_rate_factors(), **dict.fromkeys(offsets, OFFSETS_FACTOR)}

    def _positions(
        self, shapes: Sequence[tuple[int, int]], device: torch.device
    ) -> Float[Tensor, "cells channels"] | None:
        """Where cells lie in their level, and what is learned of the level."""
        if self.level_positions is None:
            return None
        settings = self.settings
        places = [
            sine_positions(shape, settings.channels, settings.temperature, device) + level
            for shape, level in zip(shapes, self.level_positions, strict=True)
        ]
        return torch.cat(places)
