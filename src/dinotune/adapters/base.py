"""The contract every adapter keeps: it fills the places that the backbone owns."""

from abc import ABC, abstractmethod

from dinotune.backbones.base import Backbone
from dinotune.errors import DinotuneError


class Adapter(ABC):
    """What small part learns inside a backbone; built from its settings section."""

    learning_rate_factor: float = 1.0
    """Its learning rate as a share of `training.learning_rate`."""
    weight_decay_factor: float = 1.0
    """Its weight decay as a share of `training.weight_decay`."""

    @abstractmethod
    def attach(self, backbone: Backbone) -> None:
        """Put the adapter into a backbone, by `put_after` or `put_inside`.

        Raises:
            SettingsError: names the setting that this backbone cannot have, and what it can.
        """

    def describe(self, backbone: Backbone) -> str:  # noqa: ARG002
        """A line on what was attached that its settings do not say, such as resolved blocks; empty for nothing."""
        return ""

    def merge(self, backbone: Backbone) -> None:  # noqa: ARG002
        """Fold the adapter into the backbone's own weights, where that leaves the features as they are.

        Raises:
            DinotuneError: the adapter computes something that the backbone alone cannot.
        """
        raise DinotuneError(
            f"{type(self).__name__} cannot be folded into the backbone: it is no change of its weights; "
            "use the model with the adapter in it"
        )
