"""The contract every head keeps: features -> predictions, and the loss that teaches them."""

from abc import ABC, abstractmethod

from torch import nn

from dinotune.types import Features, Losses, Predictions, Targets


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
