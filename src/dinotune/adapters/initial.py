"""How the layers of adapters begin, so that the backbone's features are not disturbed at first."""

from typing import TypeVar

from torch import nn

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)


def begin_small(layer: nn.Linear, gain: float) -> nn.Linear:
    """Weights by Xavier's rule times `gain`, biases zero."""
    nn.init.xavier_uniform_(layer.weight, gain=gain)
    nn.init.zeros_(layer.bias)
    return layer


def begin_as_zeros(layer: Layer) -> Layer:
    """Weights and biases zero: a gate of one half behind a sigmoid, the identity at the end of a residual branch."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
