"""DAGA, version 1: one module per block; a gate per channel read from the guidance, the same for all patches."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from dinotune.adapters.initial import begin_as_zeros, begin_small

MAPS, NUMBERS = 64, 128
"""Channels of the convolution over the guidance, and numbers that sum it up."""


class DagaV1Layer(nn.Module):
    """Patches x of one block become x + m y (T(x) - x).

    u = LN(W_i GAP(ReLU(Conv3x3(g))) + b_i), y = sigmoid(W_g u + b_g), T(x) = LN(x + 0.1 W_2 GELU(W_1 x)).
    W_g and W_2 begin as zeros and m as 0.01, so it starts near the identity, but not at it. The average
    over the map (GAP) leaves nothing of where the model looks, only of how its attention is shaped.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.over_guidance = nn.Conv2d(1, MAPS, kernel_size=3, padding=1)
        self.summary = nn.Linear(MAPS, NUMBERS)
        self.summary_norm = nn.LayerNorm(NUMBERS)
        self.gate = begin_as_zeros(nn.Linear(NUMBERS, width))
        self.down = begin_small(nn.Linear(width, hidden), gain=0.02)
        self.up = begin_as_zeros(nn.Linear(hidden, width))
        self.norm = nn.LayerNorm(width)
        self.mix = nn.Parameter(torch.tensor(0.01))

    def forward(
        self, patches: Float[Tensor, "batch cells width"], guidance: Float[Tensor, "batch 1 h w"]
    ) -> Float[Tensor, "batch cells width"]:
        """Patches after the adaptation."""
        average = self.over_guidance(guidance).relu().mean((2, 3))
        gate = self.gate(self.summary_norm(self.summary(average))).sigmoid()[:, None]
        changed = self.norm(patches + 0.1 * self.up(functional.gelu(self.down(patches))))
        adapted: Tensor = patches + self.mix * gate * (changed - patches)
        return adapted
