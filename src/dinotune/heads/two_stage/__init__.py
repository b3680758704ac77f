"""Heads whose queries begin as boxes and move them from layer to layer; `deformable_detr` and `plain_detr` build on it.

A head gives its memory and the cross-attention of its decoder layers: see `TwoStageHead`.
"""

from dinotune.heads.two_stage.head import TwoStageHead
from dinotune.heads.two_stage.memory import Memory, grid_anchors

__all__ = ["Memory", "TwoStageHead", "grid_anchors"]
