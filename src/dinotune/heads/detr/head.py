"""DETR (Carion et al. 2020): learned queries read one map through a transformer; each answers for one object or none."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn

from dinotune import config
from dinotune.heads.base import ClassRows
from dinotune.heads.positions import sine_positions
from dinotune.heads.pyramid import SingleMap
from dinotune.heads.queries import QueryOutputs
from dinotune.heads.query_head import QueryHead
from dinotune.heads.transformer import BoxLayers, DecoderLayer, EncoderLayer, xavier
from dinotune.types import Features


class DetrHead(QueryHead):
    """Encoder and decoder, or with `encoder_layers: 0` the decoder alone, on the taps brought to one map."""

    def __init__(self, settings: config.Detr, channels: Sequence[int], strides: Sequence[int], classes: int) -> None:
        super().__init__(settings, classes)
        self.settings = settings
        self.single_map = SingleMap(channels, strides)
        self.project = nn.Sequential(
            nn.Conv2d(self.single_map.channels, settings.channels, 1), LayerNorm2d(settings.channels)
        )
        self.encoder = nn.ModuleList(EncoderLayer(settings) for _ in range(settings.encoder_layers))
        self.query_content = nn.Parameter(torch.randn(settings.queries, settings.channels))
        self.query_position = nn.Parameter(torch.randn(settings.queries, settings.channels))
        self.decoder = nn.ModuleList(DecoderLayer(settings) for _ in range(settings.decoder_layers))
        self.decoder_norm = nn.LayerNorm(settings.channels)
        self.classify = nn.Linear(settings.channels, self.class_loss.outputs)
        self.locate = BoxLayers(settings.channels)
        xavier(self.encoder, self.decoder)
        nn.init.constant_(self.classify.bias, self.class_loss.starting_bias)

    def forward(self, features: Features) -> QueryOutputs:
        """Class logits (`pred_logits`) and normalised cxcywh boxes (`pred_boxes`), of every decoder layer."""
        memory, positions = self._memory(features)
        batch = len(memory)
        queries = self.query_content.expand(batch, -1, -1)
        query_positions = self.query_position.expand(batch, -1, -1)
        answers = []
        for layer in self.decoder:
            queries = layer(queries, query_positions, memory, positions)
            answers.append(self.decoder_norm(queries))
        stacked = torch.stack(answers)
        return QueryOutputs(self.classify(stacked), self.locate(stacked).sigmoid())

    def class_rows(self) -> Mapping[str, ClassRows]:
        """One logit per class; with softmax "no object" follows."""
        return {"classify.weight": ClassRows(), "classify.bias": ClassRows()}

    def _memory(
        self, features: Features
    ) -> tuple[Float[Tensor, "batch cells channels"], Float[Tensor, "cells channels"]]:
        """What the queries read, and where its cells lie."""
        feature_map: Tensor = self.project(self.single_map(features))
        grid_hw = (feature_map.shape[2], feature_map.shape[3])
        positions = sine_positions(grid_hw, self.settings.channels, self.settings.temperature, feature_map.device)
        tokens = feature_map.flatten(2).transpose(1, 2)
        for layer in self.encoder:
            tokens = layer(tokens, positions)
        return tokens, positions
