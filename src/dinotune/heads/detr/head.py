"""DETR (Carion et al. 2020): learned queries read one map through a transformer; each answers for one object or none."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn

from dinotune import config
from dinotune.heads.base import ClassRows, Head
from dinotune.heads.class_losses import build_class_loss
from dinotune.heads.positions import sine_positions
from dinotune.heads.pyramid import SingleMap
from dinotune.heads.queries import QueryOutputs, best_detections
from dinotune.heads.set_criterion import SetCriterion
from dinotune.heads.transformer import DecoderLayer, EncoderLayer, box_layers
from dinotune.types import Detections, Features, Losses, Targets


class DetrHead(Head):
    """Encoder and decoder, or with `encoder_layers: 0` the decoder alone, on the taps brought to one map."""

    def __init__(self, settings: config.Detr, channels: Sequence[int], strides: Sequence[int], classes: int) -> None:
        super().__init__()
        self.settings = settings
        self.class_loss = build_class_loss(settings.class_loss, classes)
        self.criterion = SetCriterion(settings, self.class_loss)
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
        self.locate = box_layers(settings.channels)
        self._initialize()

    def _initialize(self) -> None:
        for parameter in (*self.encoder.parameters(), *self.decoder.parameters()):
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)
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
        return QueryOutputs(self.classify(stacked), self.locate(stacked).float().sigmoid())

    def loss(self, features: Features, targets: Targets) -> Losses:
        """Class, L1 and generalised IoU losses of the matched queries."""
        return self._losses(self(features), features, targets)

    def predict(self, features: Features) -> Detections:
        """The best `slots` pairs of query and class."""
        return self.postprocess(self(features), features.image_hw)

    def evaluate(self, features: Features, targets: Targets) -> tuple[Losses, Detections]:
        """Losses and detections of one forward pass."""
        outputs = self(features)
        return self._losses(outputs, features, targets), self.postprocess(outputs, features.image_hw)

    def class_rows(self) -> Mapping[str, ClassRows]:
        """One logit per class; with softmax "no object" follows."""
        return {"classify.weight": ClassRows(), "classify.bias": ClassRows()}

    def postprocess(self, outputs: QueryOutputs, image_hw: tuple[int, int]) -> Detections:
        """Detections of what the last layer says."""
        scores = self.class_loss.scores(outputs.pred_logits)
        return best_detections(scores, outputs.pred_boxes, image_hw, self.settings.slots)

    def _losses(self, outputs: QueryOutputs, features: Features, targets: Targets) -> Losses:
        with torch.autocast(outputs.logits.device.type, enabled=False):
            return self.criterion(outputs, targets, features.image_hw)

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
