"""Faster R-CNN on a simple feature pyramid."""

from dinotune.heads.faster_rcnn.head import FasterRcnnHead

__all__ = ["FasterRcnnHead"]
