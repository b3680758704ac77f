"""Linear classification of whole pictures (Oquab et al. 2024, DINOv2): one layer on the CLS token and the patches' mean."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dinotune import config
from dinotune.heads.base import ClassRows, Head
from dinotune.types import ClassScores, Features, Losses, Targets

STARTING_STD = 0.01
"""Of the weights before training (DINOv2's linear evaluation)."""


class LinearClassifierHead(Head):
    """Reads the last tap alone."""

    def __init__(
        self,
        settings: config.LinearClassifier,
        channels: Sequence[int],
        strides: Sequence[int],  # noqa: ARG002
        classes: int,
    ) -> None:
        super().__init__()
        self.settings = settings
        parts = 2 if settings.pooling == "cls_and_patches" else 1
        self.dropout = nn.Dropout(settings.dropout)
        self.classify = nn.Linear(parts * channels[-1], classes)
        nn.init.normal_(self.classify.weight, std=STARTING_STD)
        nn.init.zeros_(self.classify.bias)

    def pooled(self, features: Features) -> Float[Tensor, "batch pooled"]:
        """What the layer reads."""
        patches = features.maps[-1].mean(dim=(2, 3))
        parts = {"cls": (features.cls,), "patches": (patches,), "cls_and_patches": (features.cls, patches)}
        return torch.cat(parts[self.settings.pooling], dim=1)

    def forward(self, features: Features) -> Float[Tensor, "batch classes"]:
        """Logits in fp32."""
        pooled = self.dropout(self.pooled(features).float())
        with torch.autocast(pooled.device.type, enabled=False):
            logits: Tensor = self.classify(pooled)
        return logits

    def loss(self, features: Features, targets: Targets) -> Losses:
        """Cross-entropy with label smoothing."""
        return self._loss(self(features), targets)

    def predict(self, features: Features) -> ClassScores:
        """Softmax over the classes."""
        return ClassScores(self(features).softmax(dim=1))

    def evaluate(self, features: Features, targets: Targets) -> tuple[Losses, ClassScores]:
        """Both of one forward pass."""
        logits = self(features)
        return self._loss(logits, targets), ClassScores(logits.softmax(dim=1))

    def class_rows(self) -> Mapping[str, ClassRows]:
        """One logit per class."""
        return {"classify.weight": ClassRows(), "classify.bias": ClassRows()}

    def _loss(self, logits: Float[Tensor, "batch classes"], targets: Targets) -> Losses:
        assert targets.classes is not None, "the data has a class per picture"
        smoothing = self.settings.label_smoothing
        return Losses({"loss_class": nn.functional.cross_entropy(logits, targets.classes, label_smoothing=smoothing)})
