"""Class probabilities of queries: one object decides activation, matching cost, loss and starting bias.

Loss and decoding cannot disagree about sigmoid or softmax, since neither stands anywhere else.
"""

import math
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from dinotune import config

LEAST_TARGET = 0.01
"""Of a matched query's class in the IoU-aware loss."""


class ClassLoss(ABC):
    """What the class logits of a query mean. All arithmetic is fp32."""

    outputs: int
    """Logits per query."""
    starting_bias: float
    """Bias of the class layer before training."""

    @abstractmethod
    def scores(self, logits: Float[Tensor, "*queries outputs"]) -> Float[Tensor, "*queries classes"]:
        """Probability of each class."""

    @abstractmethod
    def cost(self, logits: Float[Tensor, "*queries outputs"]) -> Float[Tensor, "*queries classes"]:
        """Weighted cost of matching a query to an object of each class."""

    @abstractmethod
    def loss(
        self,
        logits: Float[Tensor, "layers batch queries outputs"],
        labels: Int64[Tensor, "layers batch queries"],
        ious: Float[Tensor, "layers batch queries"],
        objects: Float[Tensor, ""],
    ) -> Float[Tensor, "layers"]:
        """Weighted loss per layer; label -1 is no object, `objects` is their number in the batch.

        `ious` are those of each query's box with its object, without a gradient.
        """


class CrossEntropyClasses(ClassLoss):
    """Softmax over classes and, last, "no object" (Carion et al. 2020, section 3.1)."""

    def __init__(self, settings: config.CrossEntropy, classes: int) -> None:
        self.settings = settings
        self.outputs = classes + 1
        self.starting_bias = 0.0

    def scores(self, logits: Float[Tensor, "*queries outputs"]) -> Float[Tensor, "*queries classes"]:
        """Softmax, without "no object"."""
        return logits.float().softmax(dim=-1)[..., :-1]

    def cost(self, logits: Float[Tensor, "*queries outputs"]) -> Float[Tensor, "*queries classes"]:
        """The negative probability."""
        return -self.settings.cost_class * self.scores(logits)

    def loss(
        self,
        logits: Float[Tensor, "layers batch queries outputs"],
        labels: Int64[Tensor, "layers batch queries"],
        ious: Float[Tensor, "layers batch queries"],  # noqa: ARG002
        objects: Float[Tensor, ""],  # noqa: ARG002
    ) -> Float[Tensor, "layers"]:
        """Mean cross-entropy over images and queries, weighted by class."""
        targets = torch.where(labels < 0, self.outputs - 1, labels)
        each = F.cross_entropy(logits.float().flatten(0, 2), targets.flatten(), reduction="none").view(targets.shape)
        weights = torch.where(labels < 0, self.settings.no_object_weight, 1.0)
        return self.settings.weight_class * (each * weights).sum((1, 2)) / weights.sum((1, 2)).clamp(min=1e-8)


class SigmoidClasses(ClassLoss):
    """A sigmoid per class, matched by the focal cost (Zhu et al. 2021)."""

    focal_alpha: float
    """Share of the right class in the focal cost."""

    def __init__(self, settings: config.Focal | config.IaBce, classes: int) -> None:
        self.cost_class = settings.cost_class
        self.gamma = settings.gamma
        self.outputs = classes
        self.starting_bias = -math.log((1 - settings.prior) / settings.prior)

    def scores(self, logits: Float[Tensor, "*queries outputs"]) -> Float[Tensor, "*queries classes"]:
        """Sigmoid."""
        return logits.float().sigmoid()

    def cost(self, logits: Float[Tensor, "*queries outputs"]) -> Float[Tensor, "*queries classes"]:
        """What the focal loss would rise by if this class were wrong instead of right."""
        positive, negative = self._focal_sides(logits)
        return self.cost_class * (positive - negative)

    def _right(self, labels: Int64[Tensor, "*queries"]) -> Bool[Tensor, "*queries classes"]:
        """Where a logit is of its query's class."""
        # One-hot with a column for -1, which is cut off.
        return F.one_hot(labels % (self.outputs + 1), self.outputs + 1)[..., :-1].bool()

    def _focal_sides(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Focal loss of each class if it is right, and if it is wrong (Lin et al. 2017, equation 5).

        All by logarithms: a probability that rounds to 0 or 1 would have no logarithm, and below gamma 1 no slope.
        """
        log_right, log_wrong = F.logsigmoid(logits.float()), F.logsigmoid(-logits.float())
        positive = -self.focal_alpha * (self.gamma * log_wrong).exp() * log_right
        negative = -(1 - self.focal_alpha) * (self.gamma * log_right).exp() * log_wrong
        return positive, negative


class FocalClasses(SigmoidClasses):
    """The focal loss (Lin et al. 2017)."""

    def __init__(self, settings: config.Focal, classes: int) -> None:
        super().__init__(settings, classes)
        self.settings = settings
        self.focal_alpha = settings.alpha

    def loss(
        self,
        logits: Float[Tensor, "layers batch queries outputs"],
        labels: Int64[Tensor, "layers batch queries"],
        ious: Float[Tensor, "layers batch queries"],  # noqa: ARG002
        objects: Float[Tensor, ""],
    ) -> Float[Tensor, "layers"]:
        """Sum over images, queries and classes per object."""
        positive, negative = self._focal_sides(logits)
        each = torch.where(self._right(labels), positive, negative)
        return self.settings.weight_class * each.sum((1, 2, 3)) / objects


class IouAwareClasses(SigmoidClasses):
    """Cross-entropy with a target that grows with the quality of the box (Cai et al. 2024, Align-DETR, section 3.2)."""

    focal_alpha = 0.25

    def __init__(self, settings: config.IaBce, classes: int) -> None:
        super().__init__(settings, classes)
        self.settings = settings

    def loss(
        self,
        logits: Float[Tensor, "layers batch queries outputs"],
        labels: Int64[Tensor, "layers batch queries"],
        ious: Float[Tensor, "layers batch queries"],
        objects: Float[Tensor, ""],
    ) -> Float[Tensor, "layers"]:
        """Sum over images, queries and classes per object: the wrong classes as in the focal loss, without its alpha."""
        log_right, log_wrong = F.logsigmoid(logits.float()), F.logsigmoid(-logits.float())
        alpha = self.settings.alpha
        # Never 0: a query whose box still misses its object must learn the class all the same.
        target = ((alpha * log_right).exp() * ious[..., None] ** (1 - alpha)).clamp(min=LEAST_TARGET).detach()
        positive = -(target * log_right + (1 - target) * log_wrong)
        negative = -(self.gamma * log_right).exp() * log_wrong
        each = torch.where(self._right(labels), positive, negative)
        return self.settings.weight_class * each.sum((1, 2, 3)) / objects


def build_class_loss(settings: config.CrossEntropy | config.Focal | config.IaBce, classes: int) -> ClassLoss:
    """The object that `head.class_loss.kind` names."""
    match settings:
        case config.CrossEntropy():
            return CrossEntropyClasses(settings, classes)
        case config.Focal():
            return FocalClasses(settings, classes)
        case config.IaBce():
            return IouAwareClasses(settings, classes)


def class_layer(channels: int, class_loss: ClassLoss) -> nn.Linear:
    """From a query to its logits; before training they all lie near their starting bias (Lin et al. 2017, section 4.1)."""
    layer = nn.Linear(channels, class_loss.outputs)
    nn.init.normal_(layer.weight, std=0.01)
    nn.init.constant_(layer.bias, class_loss.starting_bias)
    return layer
