"""What mask queries begin as: learned vectors, or cells that look like a class (Zhang et al. 2023, DINO)."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dinotune import config

Tokens = Float[Tensor, "batch _tokens channels"]
Places = Float[Tensor, "batch _tokens 2"]


class LearnedStart(nn.Module):
    """The same queries for every picture, at no place."""

    def __init__(self, settings: config.MaskHead) -> None:
        super().__init__()
        self.content = nn.Parameter(torch.randn(settings.queries, settings.channels))

    def forward(self, cells: Tokens, places: Places, rate: Callable[[Tensor], Tensor]) -> tuple[Tokens, Places]:  # noqa: ARG002
        """Contents and places of the queries."""
        content = self.content.expand(len(cells), -1, -1)
        return content, torch.zeros_like(content[..., :2], dtype=places.dtype)


class TokenStart(nn.Module):
    """The best cells by `rate`, at their places; all of them where a picture has fewer."""

    def __init__(self, settings: config.MaskHead) -> None:
        super().__init__()
        self.count = settings.queries
        self.propose = nn.Sequential(nn.LayerNorm(settings.channels), nn.Linear(settings.channels, settings.channels))

    def forward(self, cells: Tokens, places: Places, rate: Callable[[Tensor], Tensor]) -> tuple[Tokens, Places]:
        """Contents and places of the queries, best first."""
        proposals = self.propose(cells)
        with torch.no_grad():
            best = rate(proposals).topk(min(self.count, cells.shape[1]), dim=1).indices[..., None]
        return proposals.take_along_dim(best, dim=1), places.take_along_dim(best, dim=1)
