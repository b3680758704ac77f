"""Box-to-cell relative position bias (Lin et al. 2023, "DETR Doesn't Need Multi-Scale or Locality Design", section 3.2).

It tells a query's cross-attention where each cell of the map lies as seen from the edges of the query's box.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.ops import box_convert


class BoxToCellBias(nn.Module):
    """What is added to the attention logits: a part that knows columns and a part that knows rows.

    Each part is a small network of two distances, from a cell's centre to both edges of the box along one axis.
    The sum costs columns + rows runs of the network per box, where all cells would cost columns * rows.
    """

    def __init__(self, attention_heads: int, hidden: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.along_x = _network(hidden, attention_heads)
        self.along_y = _network(hidden, attention_heads)

    def forward(
        self, boxes_cxcywh: Float[Tensor, "batch queries 4"], grid_hw: tuple[int, int]
    ) -> Float[Tensor, "batch attention_heads queries cells"]:
        """The bias of each head for every pair of box (shares of the network input) and cell (row by row)."""
        left, upper, right, lower = box_convert(boxes_cxcywh.float(), "cxcywh", "xyxy").unbind(-1)
        height, width = grid_hw
        columns: Tensor = self.along_x(log_distances(torch.stack([left, right], -1), width, self.stride))
        rows: Tensor = self.along_y(log_distances(torch.stack([upper, lower], -1), height, self.stride))
        bias = rows.permute(0, 3, 1, 2)[..., None] + columns.permute(0, 3, 1, 2)[..., None, :]
        return bias.flatten(3)


def log_distances(
    edges: Float[Tensor, "batch queries 2"], cells: int, stride: int
) -> Float[Tensor, "batch queries {cells} 2"]:
    """Signed distances from the centres of the cells along one axis to both edges, on a scale where 7 pixels are 1.

    Edges are shares of the side, which is `cells` cells of `stride` pixels long. Logarithms, since a pixel
    matters near an edge and not far from it.
    """
    centres = torch.arange(cells, device=edges.device) + 0.5
    distances = (edges[:, :, None] * cells - centres[:, None]) * stride
    return distances.sign() * distances.abs().log1p() / math.log(8)


def _network(hidden: int, outputs: int) -> nn.Sequential:
    # Softmax would not see a last bias, which is the same for all cells.
    return nn.Sequential(nn.Linear(2, hidden), nn.ReLU(), nn.Linear(hidden, outputs, bias=False))
