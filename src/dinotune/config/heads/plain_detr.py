"""Settings of Plain-DETR."""

from typing import Annotated, Literal

from pydantic import Field

from dinotune.config.base import Count, NonNegativeFloat
from dinotune.config.heads.two_stage import TwoStageHead


class PlainDetr(TwoStageHead):
    """Plain-DETR (Lin et al. 2023), the detector of DINOv3's paper: one map, and a bias that knows where its cells lie from each box."""

    kind: Literal["plain_detr"] = "plain_detr"
    """Name of the head."""
    encoder_layers: Annotated[int, Field(strict=True, ge=0)] = 6
    """Encoder layers; 0 lets the queries read the backbone's map directly."""
    bias_hidden: Count = 512
    """Width of the small networks that turn distances from a box's edges into a bias of the attention."""
    cost_l1: NonNegativeFloat = 1.0
    """Weight of the L1 distance of the boxes in the matching, counted in sides of the box that a layer begins with."""
    weight_l1: NonNegativeFloat = 1.0
    """Weight of the L1 loss of the boxes, counted in sides of the box that a layer begins with."""
    one_to_many_queries: Annotated[int, Field(strict=True, ge=0)] = 300
    """Extra queries while training, several of which answer for one object (Jia et al. 2023, H-DETR); 0 for none."""
