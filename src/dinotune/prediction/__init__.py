"""Prediction on files, folders and videos, and drawn pictures of an evaluation."""

from dinotune.prediction.comparisons import draw_pictures
from dinotune.prediction.files import predict_files
from dinotune.prediction.sources import picture_files

__all__ = ["draw_pictures", "picture_files", "predict_files"]
