"""Settings of Deformable DETR."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from dinotune.config.base import Count, Switch
from dinotune.config.heads.strides import StrideFactors
from dinotune.config.heads.two_stage import TwoStageHead


class DeformableDetr(TwoStageHead):
    """Deformable DETR (Zhu et al. 2021) on a light pyramid, with what DINO and H-DETR added to it."""

    idle: ClassVar = TwoStageHead.idle | {("attention", "standard"): ("sampling_points", "modulation")}

    kind: Literal["deformable_detr"] = "deformable_detr"
    """Name of the head."""
    stride_factors: StrideFactors = (0.5, 1, 2, 4)
    """Pyramid levels, finest first, as multiples of the backbone's stride (patch size; 16 for ConvNeXt): powers of two, each twice the one before."""
    encoder_layers: Annotated[int, Field(strict=True, ge=0)] = 6
    """Encoder layers; 0 lets the queries read the pyramid directly."""
    attention: Literal["deformable", "standard"] = "deformable"
    """How maps are read: at a few learned points, or every cell of every level."""
    sampling_points: Count = 4
    """Points that each head of deformable attention reads per level; needs `attention: deformable`."""
    modulation: Switch = True
    """Learn how much each point counts; otherwise all count the same; needs `attention: deformable`."""
    denoising_queries: Annotated[int, Field(strict=True, ge=0)] = 100
    """Noised objects per picture that extra queries must put right while training, and as many far off that they must reject (Zhang et al. 2023, DINO); 0 for none."""
