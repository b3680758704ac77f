"""Every setting: type, default, one sentence. Loads no torch."""

from dinotune.config.adapter import Adapter, Bottleneck, Daga, Frozen, LearningAdapter, Lora, NormBias, OwnAdapter
from dinotune.config.backbone import Backbone, TinyShape, TrainableStage
from dinotune.config.data import Augmentation, Data, Split
from dinotune.config.evaluation import Evaluation
from dinotune.config.experiment import Experiment
from dinotune.config.feature_cache import FeatureCache, Storage
from dinotune.config.head import Head
from dinotune.config.heads.class_loss import CrossEntropy, Focal, IaBce
from dinotune.config.heads.deformable_detr import DeformableDetr
from dinotune.config.heads.detr import Detr
from dinotune.config.heads.faster_rcnn import FasterRcnn
from dinotune.config.heads.linear_classifier import LinearClassifier
from dinotune.config.heads.linear_segmenter import LinearSegmenter
from dinotune.config.heads.mask_decoder import InstanceMaskDecoder, MaskDecoder, MaskHead
from dinotune.config.heads.own import OwnHead
from dinotune.config.heads.plain_detr import PlainDetr
from dinotune.config.heads.query_head import QueryHead
from dinotune.config.heads.two_stage import TwoStageHead
from dinotune.config.own import OwnPart
from dinotune.config.prediction import Prediction
from dinotune.config.probe import Probe
from dinotune.config.training import (
    Adam,
    Adamw,
    Cosine,
    EarlyStopping,
    Goal,
    Optimizer,
    Schedule,
    Sgd,
    Steps,
    Training,
)

__all__ = [
    "Adam",
    "Adamw",
    "Adapter",
    "Augmentation",
    "Backbone",
    "Bottleneck",
    "Cosine",
    "CrossEntropy",
    "Daga",
    "Data",
    "DeformableDetr",
    "Detr",
    "EarlyStopping",
    "Evaluation",
    "Experiment",
    "FasterRcnn",
    "FeatureCache",
    "Focal",
    "Frozen",
    "Goal",
    "Head",
    "IaBce",
    "InstanceMaskDecoder",
    "LearningAdapter",
    "LinearClassifier",
    "LinearSegmenter",
    "Lora",
    "MaskDecoder",
    "MaskHead",
    "NormBias",
    "Optimizer",
    "OwnAdapter",
    "OwnHead",
    "OwnPart",
    "PlainDetr",
    "Prediction",
    "Probe",
    "QueryHead",
    "Schedule",
    "Sgd",
    "Split",
    "Steps",
    "Storage",
    "TinyShape",
    "TrainableStage",
    "Training",
    "TwoStageHead",
]
