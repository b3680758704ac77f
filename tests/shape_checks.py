"""Shapes and types of annotations are checked while tests run, where tensors travel."""

from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

CHECKED = [
    "dinotune.types",
    "dinotune.boxes",
    "dinotune.model",
    "dinotune.heads",
    "dinotune.backbones.vit",
    "dinotune.backbones.convnext",
    "dinotune.backbones.positions",
    "dinotune.data.transforms",
    "dinotune.data.photometric",
    "dinotune.data.batches",
    "dinotune.tasks.detection.edges",
]

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
"""An int is welcome where a float is asked for."""


def install() -> None:
    """Check these modules from their import on; call it before any of them is imported."""
    install_import_hook(CHECKED, "tests.shape_checks.check")
