"""Where queries begin: what they hold and the boxes around which they look, proposed or learned."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from dinotune import config
from dinotune.heads.two_stage.proposals import Proposals


@dataclass(frozen=True)
class Queries:
    """Queries before the first decoder layer."""

    content: Float[Tensor, "batch queries channels"]
    boxes_cxcywh: Float[Tensor, "batch queries 4"]
    """Shares of the network input, without a gradient from later layers where they are proposed."""
    groups: Int64[Tensor, "queries"]
    """Queries see those of their own group only."""

    def __len__(self) -> int:
        return self.content.shape[1]


class StartingQueries(nn.Module):
    """A number of queries of one branch: contents and, without proposals, boxes are learned."""

    def __init__(self, settings: config.TwoStageHead, count: int, group: int) -> None:
        super().__init__()
        self.count = count
        self.group = group
        learns_content = settings.mixed_selection or not settings.two_stage
        self.content = nn.Parameter(torch.randn(count, settings.channels)) if learns_content else None
        # Small boxes all over the picture, as logits.
        boxes = torch.cat([torch.rand(count, 2), torch.full((count, 2), 0.1)], dim=1)
        self.box_positions = None if settings.two_stage else nn.Parameter(boxes.logit(eps=1e-2))

    def forward(self, proposals: Proposals | None, batch: int) -> Queries:
        """The queries for a batch; those of small pictures are at most as many as there are proposals."""
        if proposals is None:
            assert self.content is not None
            assert self.box_positions is not None
            content, boxes = (
                self.content.expand(batch, -1, -1),
                self.box_positions.float().sigmoid().expand(batch, -1, -1),
            )
        else:
            best = proposals.best(self.count)
            boxes = best.outputs.pred_boxes.detach()
            content = best.tokens.detach() if self.content is None else self.content.expand(batch, -1, -1)
            content = content[:, : boxes.shape[1]]
        groups = torch.full((boxes.shape[1],), self.group, device=boxes.device)
        return Queries(content, boxes, groups)
