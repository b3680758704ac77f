"""What the class logits of a query mean, and how they learn."""

from typing import Annotated, Literal

from pydantic import Field

from dinotune.config.base import FromKindName, NonNegativeFloat, PositiveFloat, Section, Share


class CrossEntropy(Section):
    """Softmax over the classes and "no object", as in DETR."""

    kind: Literal["cross_entropy"] = "cross_entropy"
    """Name of the class loss."""
    no_object_weight: PositiveFloat = 0.1
    """Weight of queries without an object, of which there are many more."""
    cost_class: NonNegativeFloat = 1.0
    """Weight of the class probability in the matching."""
    weight_class: NonNegativeFloat = 1.0
    """Weight of the class loss."""


class Focal(Section):
    """A sigmoid per class with the focal loss (Lin et al. 2017), as in Deformable DETR."""

    kind: Literal["focal"] = "focal"
    """Name of the class loss."""
    alpha: Share = 0.25
    """Share of the loss that goes to queries with an object."""
    gamma: NonNegativeFloat = 2.0
    """How much less a confident and right answer counts."""
    prior: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """Probability of each class before training."""
    cost_class: NonNegativeFloat = 2.0
    """Weight of the focal class cost in the matching."""
    weight_class: NonNegativeFloat = 2.0
    """Weight of the class loss."""


class IaBce(Section):
    """A sigmoid per class that learns to be as sure as its box is good (Cai et al. 2024, Align-DETR)."""

    kind: Literal["ia_bce"] = "ia_bce"
    """Name of the class loss."""
    alpha: Share = 0.25
    """Weight of the query's own probability in its target, probability^alpha * IoU^(1 - alpha)."""
    gamma: NonNegativeFloat = 2.0
    """How much less a confident and right rejection counts."""
    prior: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """Probability of each class before training."""
    cost_class: NonNegativeFloat = 2.0
    """Weight of the focal class cost in the matching."""
    weight_class: NonNegativeFloat = 2.0
    """Weight of the class loss."""


ClassLoss = Annotated[CrossEntropy | Focal | IaBce, Field(discriminator="kind"), FromKindName]
