"""Plain-DETR: one map, boxes that move in its frame, and a bias from boxes to cells."""

from dinotune.heads.plain_detr.head import PlainDetrHead

__all__ = ["PlainDetrHead"]
