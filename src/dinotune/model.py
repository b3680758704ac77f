"""Model: a backbone (with its adapter) and a head."""

import math
import re

from jaxtyping import Float
from torch import Tensor, nn

from dinotune.adapters.base import Adapter
from dinotune.backbones.base import Backbone, WeightsIdentity
from dinotune.heads.base import Head
from dinotune.types import Cut, Features, Losses, Predictions, Targets

KEY_BIAS = re.compile(r"(^|\.)(k|key|k_proj)[._]bias$")
"""Names of parameters that no gradient reaches: softmax does not see the bias of the keys, which adds the same to every
logit of a query."""


class Model(nn.Module):
    """Images in, losses or predictions out. Images are RGB floats in [0, 1], ``[batch, 3, height, width]``."""

    def __init__(self, backbone: Backbone, head: Head, adapter: Adapter | None = None) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        # In a tuple: an adapter that is a module itself is the backbone's, and not this module's a second time.
        self._attached = (adapter,)

    @property
    def adapter(self) -> Adapter | None:
        """What was attached to the backbone; its parameters are the backbone's."""
        return self._attached[0]

    def merge_adapter(self) -> None:
        """Fold the adapter into the backbone's weights, which leaves the features as they are; for export.

        Files written afterwards hold the whole backbone, as its weights are no longer those of its file.

        Raises:
            DinotuneError: an adapter that is no change of weights.
        """
        if self.adapter is not None:
            self.adapter.merge(self.backbone)
            self._attached = (None,)
            self.backbone.identity = WeightsIdentity(self.backbone.identity.id, None)

    @property
    def size_multiple(self) -> int:
        """Sides of the network input must be multiples of this."""
        return math.lcm(self.backbone.size_multiple, self.head.size_multiple)

    def forward(self, images: Float[Tensor, "batch 3 height width"] | Cut) -> Features:
        """Features of images, or of what the frozen part of the backbone made of them before."""
        return self.backbone.trained_part(images if isinstance(images, Cut) else self.backbone.frozen_part(images))

    def loss(self, images: Float[Tensor, "batch 3 height width"] | Cut, targets: Targets) -> Losses:
        """Weighted loss terms of a batch of images, or of their cut."""
        return self.head.loss(self(images), targets)

    def predict(self, images: Float[Tensor, "batch 3 height width"]) -> Predictions:
        """Predictions in pixels of the network input."""
        return self.head.predict(self(images))
