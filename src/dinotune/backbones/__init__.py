"""Images -> features: DINOv2 and DINOv3. `load_backbone` is the way in; it loads torch on first use."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dinotune.backbones.load import load_backbone

__all__ = ["load_backbone"]


def __getattr__(name: str) -> Any:
    if name != "load_backbone":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from dinotune.backbones.load import load_backbone

    return load_backbone
