"""Layers in which queries, prefix tokens and cells look at each other: those of a ViT, normed before each part (Dosovitskiy et al. 2021)."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from dinotune import config
from dinotune.heads.mask_decoder.rotation import turned

STARTING_STD = 0.02
"""Of the weights before training, as in a ViT."""

Tokens = Float[Tensor, "batch tokens channels"]


class DecoderLayer(nn.Module):
    """Attention of all tokens to all, whose queries and keys are turned by their places, and a feed-forward network."""

    def __init__(self, settings: config.MaskHead) -> None:
        super().__init__()
        width = settings.channels
        self.heads = settings.attention_heads
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.feedforward_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, settings.feedforward)
        self.fc2 = nn.Linear(settings.feedforward, width)
        self.dropout = nn.Dropout(settings.dropout)
        for layer in (self.qkv, self.proj, self.fc1, self.fc2):
            nn.init.trunc_normal_(layer.weight, std=STARTING_STD)
            nn.init.zeros_(layer.bias)

    def forward(self, tokens: Tokens, rotation: Float[Tensor, "2 batch tokens _half"]) -> Tokens:
        """The tokens with what they read and what they make of it added."""
        tokens = tokens + self.dropout(self._attend(self.attention_norm(tokens), rotation))
        hidden = F.gelu(self.fc1(self.feedforward_norm(tokens)))
        answer: Tensor = tokens + self.dropout(self.fc2(hidden))
        return answer

    def _attend(self, tokens: Tokens, rotation: Tensor) -> Tensor:
        split = self.qkv(tokens).unflatten(-1, (3, self.heads, -1))
        query, key, value = split.permute(2, 0, 3, 1, 4)
        read = F.scaled_dot_product_attention(turned(query, rotation), turned(key, rotation), value)
        answer: Tensor = self.proj(read.transpose(1, 2).flatten(2))
        return answer
