"""Layers that read several levels: at learned points (Zhu et al. 2021, section 4.1), or every cell of all of them."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dinotune import config
from dinotune.heads.deformable_attention import deformable_attention
from dinotune.heads.transformer import Attention, EncoderLayer, FeedForward
from dinotune.heads.two_stage.memory import Memory

Tokens = Float[Tensor, "batch tokens channels"]


class DeformableAttention(nn.Module):
    """Each token reads points around its own place in every level; residual and norm after it."""

    def __init__(self, settings: config.DeformableDetr) -> None:
        super().__init__()
        channels, self.heads = settings.channels, settings.attention_heads
        self.levels, self.points = len(settings.stride_factors), settings.sampling_points
        places = self.heads * self.levels * self.points
        self.values = nn.Linear(channels, channels)
        self.offsets = nn.Linear(channels, 2 * places)
        self.weights = nn.Linear(channels, places) if settings.modulation else None
        self.output = nn.Linear(channels, channels)
        self.dropout = nn.Dropout(settings.dropout)
        self.norm = nn.LayerNorm(channels)
        self._initialize()

    @torch.no_grad()
    def _initialize(self) -> None:
        """Each head looks in a direction of its own, each of its points one unit farther; all count the same."""
        for linear in (self.values, self.output):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)
        for learned in (self.offsets, *([] if self.weights is None else [self.weights])):
            nn.init.zeros_(learned.weight)
            nn.init.zeros_(learned.bias)
        angles = torch.arange(self.heads) * (2 * math.pi / self.heads)
        ring = torch.stack([angles.cos(), angles.sin()], dim=-1)
        ring = ring / ring.abs().amax(-1, keepdim=True)
        steps = torch.arange(1, self.points + 1)[:, None] * ring[:, None, None]
        self.offsets.bias.copy_(steps.expand(-1, self.levels, -1, -1).flatten())

    def forward(
        self,
        tokens: Tokens,
        positions: Tensor,
        memory: Memory,
        centres: Float[Tensor, "#batch tokens 2"],
        units: Float[Tensor, "#batch #tokens #levels 2"],
    ) -> Tokens:
        """`centres` (x, y) and `units`, how far an offset of 1 goes, are shares of the network input."""
        asked = tokens + positions
        shape = (self.heads, self.levels, self.points)
        offsets = self.offsets(asked).float().unflatten(-1, (*shape, 2))
        locations = centres[:, :, None, None, None] + offsets * units[:, :, None, :, None]
        values = self.values(memory.tokens).unflatten(-1, (self.heads, -1))
        answer = deformable_attention(values, memory.level_shapes, locations, self._shares(asked, locations))
        normed: Tensor = self.norm(tokens + self.dropout(self.output(answer)))
        return normed

    def _shares(self, asked: Tensor, locations: Tensor) -> Float[Tensor, "batch tokens heads levels points"]:
        """How much each point counts; those of a token and head sum to 1."""
        if self.weights is None:
            return locations.new_full(locations.shape[:-1], 1 / (self.levels * self.points))
        logits: Tensor = self.weights(asked).float().unflatten(-1, (self.heads, -1))
        shares: Tensor = logits.softmax(-1).unflatten(-1, (self.levels, self.points))
        return shares


class DeformableEncoderLayer(nn.Module):
    """The cells of all levels look at points of all levels; offsets count in cells."""

    def __init__(self, settings: config.DeformableDetr) -> None:
        super().__init__()
        self.attention = DeformableAttention(settings)
        self.feedforward = FeedForward(settings)

    def forward(self, memory: Memory) -> Tokens:
        sizes = memory.anchors_cxcywh.new_tensor([(width, height) for height, width in memory.level_shapes])
        centres = memory.anchors_cxcywh[None, :, :2]
        answer = self.attention(memory.tokens, memory.positions, memory, centres, 1 / sizes[None, None])
        fed: Tensor = self.feedforward(answer)
        return fed


class StandardEncoderLayer(nn.Module):
    """The cells of all levels look at all of them."""

    def __init__(self, settings: config.DeformableDetr) -> None:
        super().__init__()
        self.layer = EncoderLayer(settings)

    def forward(self, memory: Memory) -> Tokens:
        answer: Tensor = self.layer(memory.tokens, memory.positions)
        return answer


class DeformableCrossAttention(nn.Module):
    """Queries look at points in and around their boxes: an offset of as many units as points is half a side."""

    def __init__(self, settings: config.DeformableDetr) -> None:
        super().__init__()
        self.attention = DeformableAttention(settings)

    def forward(self, queries: Tokens, positions: Tokens, boxes_cxcywh: Tensor, memory: Memory) -> Tokens:
        units = boxes_cxcywh[:, :, None, 2:] / (2 * self.attention.points)
        answer: Tensor = self.attention(queries, positions, memory, boxes_cxcywh[..., :2], units)
        return answer


class StandardCrossAttention(nn.Module):
    """Queries look at all cells of all levels."""

    def __init__(self, settings: config.DeformableDetr) -> None:
        super().__init__()
        self.attention = Attention(settings)

    def forward(self, queries: Tokens, positions: Tokens, boxes_cxcywh: Tensor, memory: Memory) -> Tokens:  # noqa: ARG002
        answer: Tensor = self.attention(queries, positions, memory.tokens, memory.positions)
        return answer
