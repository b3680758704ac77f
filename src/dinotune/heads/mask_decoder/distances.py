"""How far masks are from those that they should be, at places that count: cross-entropy and dice (Milletari et al. 2016).

`truth` is the share of a place that belongs to the mask, `counted` the share of it that counts, and so the greater one.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def pair_distances(
    logits: Float[Tensor, "masks points"], truth: Float[Tensor, "masks points"], counted: Float[Tensor, "#masks points"]
) -> tuple[Float[Tensor, "masks"], Float[Tensor, "masks"]]:
    """Mean cross-entropy and dice distance of each mask and its truth."""
    chances = logits.sigmoid()
    entropy = (counted * F.softplus(logits) - truth * logits).sum(1) / counted.sum(1).clamp(min=1)
    return entropy, _dice((chances * truth).sum(1), (chances * counted).sum(1) + truth.sum(1))


def table_distances(
    logits: Float[Tensor, "layers queries points"],
    truth: Float[Tensor, "masks points"],
    counted: Float[Tensor, "1 points"],
) -> tuple[Float[Tensor, "layers queries masks"], Float[Tensor, "layers queries masks"]]:
    """The same of every query and every mask."""
    chances = logits.sigmoid()
    entropy = (F.softplus(logits) @ counted.T - logits @ truth.T) / counted.sum().clamp(min=1)
    return entropy, _dice(chances @ truth.T, chances @ counted.T + truth.sum(1))


def _dice(overlap: Tensor, together: Tensor) -> Tensor:
    """1 minus the overlap's share; 1 is added on both sides, for masks without a pixel."""
    return 1 - (2 * overlap + 1) / (together + 1)
