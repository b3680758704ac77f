"""Plain-DETR (Lin et al. 2023, "DETR Doesn't Need Multi-Scale or Locality Design"): the detector of DINOv3's paper.

The queries read one map; where its cells lie from each box is told by a bias instead of by sampling places.
"""

from collections.abc import Sequence

from jaxtyping import Float
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn

from dinotune import config
from dinotune.heads.box_codes import RelativeBoxes
from dinotune.heads.plain_detr.relative_bias import BoxToCellBias
from dinotune.heads.positions import sine_positions
from dinotune.heads.pyramid import SingleMap
from dinotune.heads.transformer import Attention, EncoderLayer, xavier
from dinotune.heads.two_stage import Memory, TwoStageHead, grid_anchors
from dinotune.types import Features

ANCHOR_SIDE = 0.1
"""Of the box that a cell proposes unasked, as a share of the network input (Zhu et al. 2021, for stride 16)."""

Queries = Float[Tensor, "batch queries channels"]


class PlainDetrHead(TwoStageHead):
    """Taps brought to one map, an encoder on it, and a decoder whose attention is biased towards its boxes.

    Boxes move by shares of their own sides, and L1 distances count in them (section 3.3).
    """

    def __init__(
        self, settings: config.PlainDetr, channels: Sequence[int], strides: Sequence[int], classes: int
    ) -> None:
        single_map = SingleMap(channels, strides)
        super().__init__(settings, classes, lambda: BiasedAttention(settings, single_map.stride), RelativeBoxes())
        self.single_map = single_map
        self.project = nn.Sequential(
            nn.Conv2d(single_map.channels, settings.channels, 1), LayerNorm2d(settings.channels)
        )
        self.encoder = nn.ModuleList(EncoderLayer(settings) for _ in range(settings.encoder_layers))
        xavier(self.encoder)

    def memory(self, features: Features) -> Memory:
        """The cells of the map after the encoder."""
        feature_map: Tensor = self.project(self.single_map(features))
        grid_hw = (feature_map.shape[2], feature_map.shape[3])
        device = feature_map.device
        positions = sine_positions(grid_hw, self.settings.channels, self.settings.temperature, device)
        tokens = feature_map.flatten(2).transpose(1, 2)
        for layer in self.encoder:
            tokens = layer(tokens, positions)
        return Memory(tokens, grid_anchors([grid_hw], [ANCHOR_SIDE], device), (grid_hw,), positions)


class BiasedAttention(nn.Module):
    """Attention of queries to all cells, with a bias from each query's box added to the logits."""

    def __init__(self, settings: config.PlainDetr, stride: int) -> None:
        super().__init__()
        self.attention = Attention(settings)
        xavier(self.attention)
        self.bias = BoxToCellBias(settings.attention_heads, settings.bias_hidden, stride)

    def forward(
        self, queries: Queries, positions: Queries, boxes_cxcywh: Float[Tensor, "batch queries 4"], memory: Memory
    ) -> Queries:
        """The queries with what they read added, after the norm."""
        bias = self.bias(boxes_cxcywh, memory.level_shapes[0]).flatten(0, 1)
        answer: Tensor = self.attention(queries, positions, memory.tokens, memory.positions, bias)
        return answer
