"""Settings of the feature cache: whether the frozen part of a backbone runs once instead of in every epoch."""

from typing import Any, Literal

from dinotune.config.base import PositiveFloat, Section, Switch, UserPath

Storage = Literal["bf16", "fp32", "int8"]


class FeatureCache(Section):
    """What the frozen part of the backbone makes of every view of a picture, kept on disk."""

    mode: Literal["off", "auto", "on"] = "off"
    """`on` computes features before training, in `data.augmentation.views` views (8 where that is not set); `auto` does so where it saves time in this run and there is room; `off` runs the whole backbone in every step."""
    folder: UserPath | None = None
    """Folder for all caches; none takes `~/.cache/dinotune/features`."""
    storage: Storage = "bf16"
    """How features are kept: in bfloat16; in single precision, for training that is exactly the one without a cache; or as 8-bit integers with a scale per picture and channel, in half the room."""
    max_gb: PositiveFloat = 50.0
    """Largest size in GB (10^9 bytes) that the features of a split may have."""
    in_memory: Switch | Literal["auto"] = "auto"
    """Hold the features in memory while training; `auto` does so where they take less than half of what is free."""

    @classmethod
    def expand(cls, value: Any) -> Any:
        """A word stands for `mode`; YAML reads `on` and `off` as true and false."""
        if isinstance(value, bool):
            return {"mode": "on" if value else "off"}
        if isinstance(value, dict) and isinstance(value.get("mode"), bool):
            return {**value, "mode": "on" if value["mode"] else "off"}
        return {"mode": value} if isinstance(value, str) else value
