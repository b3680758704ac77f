"""The contract every head keeps: features -> predictions, and the loss that teaches them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from dinotune.types import Features, Losses, Predictions, Targets


@dataclass(frozen=True)
class ClassRows:
    """Where the classes lie on the first axis of a parameter: in the order of the labels, the same number of rows each."""

    first: int = 0
    """First row of class 0; the rows before it (background) and after the last class (no object) belong to none."""
    per_class: int = 1
    """Rows of each class."""


class Head(nn.Module, ABC):
    """From features to predictions. Built from its settings, the taps' channels and strides, and the label count.

    Losses and box arithmetic run in fp32 whatever autocast surrounds them. Images and batches
    without objects give finite losses.
    """

    size_multiple: int = 1
    """Image sides should be multiples of this as well as of the backbone's own."""

    @abstractmethod
    def loss(self, features: Features, targets: Targets) -> Losses:
        """Weighted loss terms of a batch."""

    @abstractmethod
    def predict(self, features: Features) -> Predictions:
        """Predictions in pixels of the network input."""

    def evaluate(self, features: Features, targets: Targets) -> tuple[Losses, Predictions]:
        """Both of them, in eval mode; heads override it where one forward pass serves both."""
        return self.loss(features, targets), self.predict(features)

    def learning_rate_factors(self) -> Mapping[str, float]:
        """The parameters that learn at another rate than the rest of the head, as shares of its rate, by their name in the head."""
        return {}

    def class_rows(self) -> Mapping[str, ClassRows]:
        """The parameters whose shape depends on the number of classes, by their name in the head."""
        return {}
