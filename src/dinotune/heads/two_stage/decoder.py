"""A decoder that moves boxes from layer to layer (Zhu et al. 2021, appendix A.4; Zhang et al. 2023, DINO, section 3.4)."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from dinotune import config
from dinotune.heads.box_codes import BoxCode
from dinotune.heads.class_losses import ClassLoss, class_layer
from dinotune.heads.positions import box_positions
from dinotune.heads.queries import QueryOutputs
from dinotune.heads.transformer import Attention, BoxLayers, FeedForward, xavier
from dinotune.heads.two_stage.memory import Memory

Tokens = Float[Tensor, "batch queries channels"]
Boxes = Float[Tensor, "batch queries 4"]
Mask = Bool[Tensor, "queries queries"]
"""Where true, a query (row) does not see another (column)."""


class BoxDecoderLayer(nn.Module):
    """Queries look at each other, then, around their boxes, at the memory.

    `cross_attention(queries, positions, boxes_cxcywh, memory)` gives the queries with its answer added and normed.
    """

    def __init__(self, settings: config.TwoStageHead, cross_attention: nn.Module) -> None:
        super().__init__()
        self.self_attention = Attention(settings)
        self.cross_attention = cross_attention
        self.feedforward = FeedForward(settings)
        xavier(self.self_attention, self.feedforward)

    def forward(self, queries: Tokens, positions: Tokens, boxes: Boxes, memory: Memory, mask: Mask | None) -> Tokens:
        queries = self.self_attention(queries, positions, queries, positions, mask)
        queries = self.cross_attention(queries, positions, boxes, memory)
        answer: Tensor = self.feedforward(queries)
        return answer


class BoxDecoder(nn.Module):
    """Decoder layers, and after each of them a class and a box for every query."""

    def __init__(
        self,
        settings: config.TwoStageHead,
        class_loss: ClassLoss,
        box_code: BoxCode,
        cross_attention: Callable[[], nn.Module],
    ) -> None:
        super().__init__()
        self.settings = settings
        self.box_code = box_code
        channels = settings.channels
        self.layers = nn.ModuleList(
            BoxDecoderLayer(settings, cross_attention()) for _ in range(settings.decoder_layers)
        )
        self.norm = nn.LayerNorm(channels)
        self.place = nn.Sequential(nn.Linear(2 * channels, channels), nn.ReLU(), nn.Linear(channels, channels))
        self.classify = class_layer(channels, class_loss)
        self.locate = nn.ModuleList(BoxLayers(channels, zero=True) for _ in range(settings.decoder_layers))

    def forward(self, queries: Tokens, boxes: Boxes, memory: Memory, mask: Mask | None = None) -> QueryOutputs:
        """What the queries say after each layer, beginning with these boxes."""
        settings = self.settings
        answers, found, begun = [], [], []
        # Where the box of the layer before stands with its gradient, that layer learns from this one too.
        base = boxes
        for layer, locate in zip(self.layers, self.locate, strict=True):
            positions = self.place(box_positions(boxes, settings.channels, settings.temperature))
            queries = layer(queries, positions, boxes, memory, mask)
            answer = self.norm(queries)
            steps = locate(answer)
            answers.append(answer)
            found.append(self.box_code.move(base, steps))
            begun.append(boxes.detach())
            if settings.box_refinement:
                moved = self.box_code.move(boxes, steps)
                boxes = moved.detach()
                base = moved if settings.look_forward_twice else boxes
        return QueryOutputs(self.classify(torch.stack(answers)), torch.stack(found), torch.stack(begun))
