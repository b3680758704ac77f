"""From a file to the predictor of its task."""

from pathlib import Path
from typing import Any

from dinotune.checkpoints import load_model
from dinotune.files import find_checkpoint
from dinotune.predictors.base import Predictor
from dinotune.predictors.classification import ClassificationPredictor
from dinotune.predictors.detection import DetectionPredictor
from dinotune.predictors.instance_segmentation import InstancePredictor
from dinotune.predictors.segmentation import SegmentationPredictor


def load_predictor(source: str | Path, device: str = "auto") -> Predictor[Any]:
    """The model of a run folder (its best by the task's score) or of one checkpoint file, ready to predict."""
    model, description = load_model(find_checkpoint(Path(source)))
    match description.experiment.head.task:
        case "detection":
            return DetectionPredictor(model, description, device)
        case "classification":
            return ClassificationPredictor(model, description, device)
        case "segmentation":
            return SegmentationPredictor(model, description, device)
        case "instance_segmentation":
            return InstancePredictor(model, description, device)
