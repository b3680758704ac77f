"""Detectors and classifiers from Meta's DINOv2 and DINOv3 vision transformers.

The public names; each is loaded on first use, so that `import dinotune` loads no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dinotune.adapters.base import Adapter
    from dinotune.api import evaluate, load, resume, train
    from dinotune.backbones import load_backbone
    from dinotune.build import build_head
    from dinotune.checking import check
    from dinotune.config import (
        Adam,
        Adamw,
        Augmentation,
        Backbone,
        Bottleneck,
        Cosine,
        CrossEntropy,
        Daga,
        Data,
        DeformableDetr,
        Detr,
        EarlyStopping,
        Evaluation,
        Experiment,
        FasterRcnn,
        Focal,
        Frozen,
        Goal,
        IaBce,
        InstanceMaskDecoder,
        LinearClassifier,
        LinearSegmenter,
        Lora,
        MaskDecoder,
        NormBias,
        OwnAdapter,
        OwnHead,
        PlainDetr,
        Prediction,
        Probe,
        Sgd,
        Split,
        Steps,
        TinyShape,
        TrainableStage,
        Training,
    )
    from dinotune.converting import convert
    from dinotune.data.images import read_image
    from dinotune.errors import DinotuneError
    from dinotune.heads.base import ClassRows, Head
    from dinotune.probing import probe
    from dinotune.sweeping import sweep
    from dinotune.types import ClassScores, Detections, Features, Losses, Targets

__version__ = "0.1.0"

__all__ = [
    "Adam",
    "Adamw",
    "Adapter",
    "Augmentation",
    "Backbone",
    "Bottleneck",
    "ClassRows",
    "ClassScores",
    "Cosine",
    "CrossEntropy",
    "Daga",
    "Data",
    "DeformableDetr",
    "Detections",
    "Detr",
    "DinotuneError",
    "EarlyStopping",
    "Evaluation",
    "Experiment",
    "FasterRcnn",
    "Features",
    "Focal",
    "Frozen",
    "Goal",
    "Head",
    "IaBce",
    "InstanceMaskDecoder",
    "LinearClassifier",
    "LinearSegmenter",
    "Lora",
    "Losses",
    "MaskDecoder",
    "NormBias",
    "OwnAdapter",
    "OwnHead",
    "PlainDetr",
    "Prediction",
    "Probe",
    "Sgd",
    "Split",
    "Steps",
    "Targets",
    "TinyShape",
    "TrainableStage",
    "Training",
    "__version__",
    "build_head",
    "check",
    "convert",
    "evaluate",
    "load",
    "load_backbone",
    "probe",
    "read_image",
    "resume",
    "sweep",
    "train",
]

_HOMES = {
    "Adapter": "dinotune.adapters.base",
    "ClassRows": "dinotune.heads.base",
    "ClassScores": "dinotune.types",
    "Detections": "dinotune.types",
    "DinotuneError": "dinotune.errors",
    "Features": "dinotune.types",
    "Head": "dinotune.heads.base",
    "Losses": "dinotune.types",
    "Targets": "dinotune.types",
    "build_head": "dinotune.build",
    "check": "dinotune.checking",
    "convert": "dinotune.converting",
    "evaluate": "dinotune.api",
    "load": "dinotune.api",
    "load_backbone": "dinotune.backbones",
    "probe": "dinotune.probing",
    "read_image": "dinotune.data.images",
    "resume": "dinotune.api",
    "sweep": "dinotune.sweeping",
    "train": "dinotune.api",
}
"""Where a public name lives; settings classes live in `dinotune.config`."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'dinotune' has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "dinotune.config")), name)


def __dir__() -> list[str]:
    return __all__
