"""The plain bottleneck: what DAGA is without its guidance, so the control that DAGA is measured against."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from dinotune.adapters.initial import begin_as_zeros, begin_small


class BottleneckLayer(nn.Module):
    """Patches x become x + scale W_up Dropout(GELU(W_down x)) (Houlsby et al. 2019, arXiv 1902.00751).

    W_up begins as zeros: exactly the identity at first.
    """

    def __init__(self, width: int, hidden: int, dropout: float, scale: float) -> None:
        super().__init__()
        self.down = begin_small(nn.Linear(width, hidden), gain=0.1)
        self.dropout = nn.Dropout(dropout)
        self.up = begin_as_zeros(nn.Linear(hidden, width))
        self.scale = scale

    def forward(self, patches: Float[Tensor, "batch cells width"]) -> Float[Tensor, "batch cells width"]:
        """Patches after the adaptation."""
        change: Tensor = self.up(self.dropout(functional.gelu(self.down(patches))))
        return patches + self.scale * change
