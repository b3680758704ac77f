"""Every setting: type, default, one sentence. Loads no torch."""

from dinotune.config.adapter import Adapter, Frozen
from dinotune.config.backbone import Backbone, TinyShape, TrainableStage
from dinotune.config.data import Augmentation, Data, Split
from dinotune.config.evaluation import Evaluation
from dinotune.config.experiment import Experiment
from dinotune.config.head import FasterRcnn, Head
from dinotune.config.training import Adamw, Cosine, Optimizer, Schedule, Sgd, Steps, Training

__all__ = [
    "Adamw",
    "Adapter",
    "Augmentation",
    "Backbone",
    "Cosine",
    "Data",
    "Evaluation",
    "Experiment",
    "FasterRcnn",
    "Frozen",
    "Head",
    "Optimizer",
    "Schedule",
    "Sgd",
    "Split",
    "Steps",
    "TinyShape",
    "TrainableStage",
    "Training",
]
