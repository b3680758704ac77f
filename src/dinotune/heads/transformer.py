"""Transformer layers of the DETR family (Carion et al. 2020, figure 10): normed after each part, positions added at every layer."""

import itertools

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dinotune import config

Tokens = Float[Tensor, "batch tokens channels"]


def xavier(*modules: nn.Module) -> None:
    """Draw all matrices of these modules anew from Xavier's uniform distribution, as the whole family begins."""
    for parameter in itertools.chain.from_iterable(module.parameters() for module in modules):
        if parameter.ndim > 1:
            nn.init.xavier_uniform_(parameter)


class Attention(nn.Module):
    """Multi-head attention with residual and norm; positions go into queries and keys, never into values."""

    def __init__(self, settings: config.QueryHead) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(
            settings.channels, settings.attention_heads, settings.dropout, batch_first=True
        )
        self.dropout = nn.Dropout(settings.dropout)
        self.norm = nn.LayerNorm(settings.channels)

    def forward(
        self, tokens: Tokens, positions: Tensor, memory: Tensor, memory_positions: Tensor, mask: Tensor | None = None
    ) -> Tokens:
        """Where `mask` (tokens by memory) is true, a token does not see the memory; numbers are added to the logits."""
        answer, _ = self.attend(
            tokens + positions, memory + memory_positions, memory, need_weights=False, attn_mask=mask
        )
        normed: Tensor = self.norm(tokens + self.dropout(answer))
        return normed


class FeedForward(nn.Module):
    """Two linear layers with residual and norm."""

    def __init__(self, settings: config.QueryHead) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(settings.channels, settings.feedforward),
            nn.ReLU(),
            nn.Dropout(settings.dropout),
            nn.Linear(settings.feedforward, settings.channels),
            nn.Dropout(settings.dropout),
        )
        self.norm = nn.LayerNorm(settings.channels)

    def forward(self, tokens: Tokens) -> Tokens:
        normed: Tensor = self.norm(tokens + self.layers(tokens))
        return normed


class EncoderLayer(nn.Module):
    """The cells of the map look at each other."""

    def __init__(self, settings: config.QueryHead) -> None:
        super().__init__()
        self.attention = Attention(settings)
        self.feedforward = FeedForward(settings)

    def forward(self, tokens: Tokens, positions: Tensor) -> Tokens:
        answer: Tensor = self.feedforward(self.attention(tokens, positions, tokens, positions))
        return answer


class DecoderLayer(nn.Module):
    """The queries look at each other, then at the map."""

    def __init__(self, settings: config.QueryHead) -> None:
        super().__init__()
        self.self_attention = Attention(settings)
        self.cross_attention = Attention(settings)
        self.feedforward = FeedForward(settings)

    def forward(self, queries: Tokens, positions: Tensor, memory: Tensor, memory_positions: Tensor) -> Tokens:
        queries = self.self_attention(queries, positions, queries, positions)
        queries = self.cross_attention(queries, positions, memory, memory_positions)
        answer: Tensor = self.feedforward(queries)
        return answer


class BoxLayers(nn.Sequential):
    """From a query to four numbers that make its box, in fp32: bf16 would move its edges by up to a pixel of 640.

    With `zero` the numbers are 0 before training.
    """

    def __init__(self, channels: int, *, zero: bool = False) -> None:
        last = nn.Linear(channels, 4)
        if zero:
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        hidden = (nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, channels), nn.ReLU())
        super().__init__(*hidden, last)

    def forward(self, queries: Tensor) -> Float[Tensor, "*queries 4"]:
        with torch.autocast(queries.device.type, enabled=False):
            numbers = queries.float()
            for layer in self:
                numbers = layer(numbers)
        return numbers
