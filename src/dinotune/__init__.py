"""Detectors from Meta's DINOv2 and DINOv3 vision transformers.

The public names; each is loaded on first use, so that `import dinotune` loads no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dinotune.api import evaluate, load, resume, train
    from dinotune.backbones import load_backbone
    from dinotune.checking import check
    from dinotune.config import (
        Adam,
        Adamw,
        Augmentation,
        Backbone,
        Cosine,
        CrossEntropy,
        Data,
        Detr,
        EarlyStopping,
        Evaluation,
        Experiment,
        FasterRcnn,
        Focal,
        Frozen,
        Goal,
        Prediction,
        Sgd,
        Split,
        Steps,
        TinyShape,
        TrainableStage,
        Training,
    )
    from dinotune.data.images import read_image
    from dinotune.errors import DinotuneError

__version__ = "0.1.0"

__all__ = [
    "Adam",
    "Adamw",
    "Augmentation",
    "Backbone",
    "Cosine",
    "CrossEntropy",
    "Data",
    "Detr",
    "DinotuneError",
    "EarlyStopping",
    "Evaluation",
    "Experiment",
    "FasterRcnn",
    "Focal",
    "Frozen",
    "Goal",
    "Prediction",
    "Sgd",
    "Split",
    "Steps",
    "TinyShape",
    "TrainableStage",
    "Training",
    "__version__",
    "check",
    "evaluate",
    "load",
    "load_backbone",
    "read_image",
    "resume",
    "train",
]

_HOMES = {
    "DinotuneError": "dinotune.errors",
    "check": "dinotune.checking",
    "evaluate": "dinotune.api",
    "load": "dinotune.api",
    "load_backbone": "dinotune.backbones",
    "read_image": "dinotune.data.images",
    "resume": "dinotune.api",
    "train": "dinotune.api",
}
"""Where a public name lives; settings classes live in `dinotune.config`."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'dinotune' has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "dinotune.config")), name)


def __dir__() -> list[str]:
    return __all__
