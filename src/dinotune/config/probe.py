"""Settings of `dinotune probe`."""

from typing import Annotated

from pydantic import Field

from dinotune.config.base import Count, PositiveFloat
from dinotune.config.command_options import CommandOptions

Several = Field(min_length=1)


class Probe(CommandOptions):
    """How much the frozen features of a backbone say about classes of pictures, three ways."""

    views: Count = 1
    """Views of each training picture: the picture itself, then random ones as `data.augmentation` draws them."""
    epochs: Count = 100
    """Passes of the linear classifiers over the features; each takes one of a picture's views."""
    batch_size: Count = 128
    """Pictures per step of the linear classifiers, fewer where there are not as many."""
    learning_rates: Annotated[tuple[PositiveFloat, ...], Several] = (
        1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1,
    )  # fmt: skip
    """Learning rates for 256 pictures per step, a linear classifier each (the thirteen of DINOv2)."""
    neighbours: Annotated[tuple[Count, ...], Several] = (10, 20, 100, 200)
    """Numbers of neighbours that vote."""
    temperature: PositiveFloat = 0.07
    """Of the votes: a neighbour of cosine similarity s counts exp(s / temperature)."""
    penalties: Annotated[tuple[PositiveFloat, ...], Several] = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
    """Strengths of the squared weights beside the mean loss in logistic regression."""
