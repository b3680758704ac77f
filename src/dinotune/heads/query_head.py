"""What all heads of the DETR family do alike: ask the queries, match them to objects, decode the last layer."""

from abc import abstractmethod

import torch

from dinotune import config
from dinotune.heads.base import Head
from dinotune.heads.box_codes import BoxCode
from dinotune.heads.class_losses import build_class_loss
from dinotune.heads.queries import QueryOutputs, best_detections
from dinotune.heads.set_criterion import SetCriterion
from dinotune.types import Detections, Features, Losses, Targets


class QueryHead(Head):
    """A head whose `forward` gives class logits and normalised cxcywh boxes of queries after every decoder layer."""

    def __init__(self, settings: config.QueryHead, classes: int, box_code: BoxCode | None = None) -> None:
        super().__init__()
        self.class_loss = build_class_loss(settings.class_loss, classes)
        self.criterion = SetCriterion(settings, self.class_loss, box_code)
        self.slots = settings.slots

    @abstractmethod
    def forward(self, features: Features) -> QueryOutputs:
        """What the queries say after every decoder layer."""

    def answer(self, features: Features, targets: Targets) -> tuple[QueryOutputs, Losses]:
        """What the queries say, and what they lose by it: class, L1 and generalised IoU of the matched ones."""
        outputs = self(features)
        with torch.autocast(outputs.logits.device.type, enabled=False):
            return outputs, self.criterion(outputs, targets, features.image_hw)

    def loss(self, features: Features, targets: Targets) -> Losses:
        """Losses of the matched queries."""
        return self.answer(features, targets)[1]

    def predict(self, features: Features) -> Detections:
        """The best `slots` pairs of query and class."""
        return self.postprocess(self(features), features.image_hw)

    def evaluate(self, features: Features, targets: Targets) -> tuple[Losses, Detections]:
        """Losses and detections of one forward pass."""
        outputs, losses = self.answer(features, targets)
        return losses, self.postprocess(outputs, features.image_hw)

    def postprocess(self, outputs: QueryOutputs, image_hw: tuple[int, int]) -> Detections:
        """Detections of what the last layer says."""
        scores = self.class_loss.scores(outputs.pred_logits)
        return best_detections(scores, outputs.pred_boxes, image_hw, self.slots)
