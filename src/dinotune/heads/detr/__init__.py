"""DETR: a transformer on one map."""

from dinotune.heads.detr.head import DetrHead

__all__ = ["DetrHead"]
