"""DAGA, version 2: the guidance is encoded once per image and gates a bottleneck by channel and by place."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from dinotune.adapters.initial import begin_as_zeros, begin_small

MAPS, NUMBERS = 64, 128
"""Channels of the encoded guidance, and numbers that sum it up."""


class MapNorm(nn.BatchNorm2d):
    """BatchNorm that falls back on its running statistics where a batch holds one cell only."""

    def forward(self, input: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch channels h w"]:  # noqa: A002
        """Normed maps."""
        if input.numel() > input.shape[1]:
            return super().forward(input)
        return functional.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps
        )


class GuidanceEncoder(nn.Sequential):
    """F = GELU(BN(Conv3x3 stride 2 (GELU(BN(Conv3x3(g)))))): [batch, 1, h, w] to [batch, 64, h / 2, w / 2]."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, MAPS // 2, kernel_size=3, padding=1),
            MapNorm(MAPS // 2),
            nn.GELU(),
            nn.Conv2d(MAPS // 2, MAPS, kernel_size=3, stride=2, padding=1),
            MapNorm(MAPS),
            nn.GELU(),
        )


class DagaV2Layer(nn.Module):
    """Patches x of one block become x + a (c (1 + b s)) d(x), read from the encoded guidance F.

    u = LN(W GELU(W GAP(F))), channels c = sigmoid(W_c u), places s = sigmoid(upsample(Conv1x1(F))),
    d(x) = W_up Dropout(GELU(W_down x)). W_up begins as zeros: exactly the identity at first.
    """

    def __init__(self, width: int, hidden: int, dropout: float, strength: float) -> None:
        """`strength` is the first value of a."""
        super().__init__()
        self.summary = nn.Sequential(
            begin_small(nn.Linear(MAPS, NUMBERS), gain=0.1),
            nn.GELU(),
            begin_small(nn.Linear(NUMBERS, NUMBERS), gain=0.1),
            nn.LayerNorm(NUMBERS),
        )
        self.places = begin_as_zeros(nn.Conv2d(MAPS, 1, kernel_size=1))
        self.channels = begin_as_zeros(nn.Linear(NUMBERS, width))
        self.down = begin_small(nn.Linear(width, hidden), gain=0.1)
        self.dropout = nn.Dropout(dropout)
        self.up = begin_as_zeros(nn.Linear(hidden, width))
        self.strength = nn.Parameter(torch.tensor(strength))
        self.place_strength = nn.Parameter(torch.tensor(0.1))

    def forward(
        self,
        patches: Float[Tensor, "batch cells width"],
        encoded: Float[Tensor, "batch maps half_h half_w"],
        grid_hw: tuple[int, int],
    ) -> Float[Tensor, "batch cells width"]:
        """Patches after the adaptation; they lie on a grid of `grid_hw`."""
        places = functional.interpolate(self.places(encoded), size=grid_hw, mode="bilinear").sigmoid()
        places = places.flatten(2).transpose(1, 2)
        channels = self.channels(self.summary(encoded.mean((2, 3)))).sigmoid()[:, None]
        change = self.up(self.dropout(functional.gelu(self.down(patches))))
        gates = channels * (1 + self.place_strength * places)
        adapted: Tensor = patches + self.strength * gates * change
        return adapted
