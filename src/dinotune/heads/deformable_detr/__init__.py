"""Deformable DETR: queries read a pyramid at a few learned points."""

from dinotune.heads.deformable_detr.head import DeformableDetrHead

__all__ = ["DeformableDetrHead"]
