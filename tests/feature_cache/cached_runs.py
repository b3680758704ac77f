"""Small experiments with something frozen, and watchers of their caches."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dinotune import config
from dinotune.config.loading import load_experiment
from dinotune.feature_cache.run import CachedRun
from dinotune.feature_cache.watcher import StoppedError
from dinotune.training.caching import as_cached
from dinotune.training.preparation import prepare
from tests.small_parts import HEADS

VIT: dict[str, Any] = {"id": "tiny-dinov3", "tiny": {"width": 32, "depth": 4}, "blocks": [1, 3]}
CONVNEXT: dict[str, Any] = {"id": "tiny-convnext", "tiny": {"width": 32}, "blocks": [1, 3]}

CUTS: dict[str, dict[str, str]] = {
    "all frozen": {},
    "last block learns": {"backbone.trainable": "1"},
    "lora": {"adapter": "{kind: lora, blocks: 2, rank: 2, dropout: 0.1}"},
    "daga": {"adapter": "{kind: daga, blocks: [2, 3]}"},
    "bottleneck": {"adapter": "{kind: bottleneck, blocks: [3]}"},
}


def experiment(
    root: Path, head: str, changes: Mapping[str, str] | None = None, backbone: dict[str, Any] | None = None
) -> config.Experiment:
    """Nine epochs of six steps, three views of a picture."""
    settings = {
        "name": "cached",
        "device": "cpu",
        "backbone": backbone or VIT,
        "head": {"kind": head, **HEADS[head]},
        "data": {
            "root": str(root),
            "size": 64,
            "workers": 0,
            "augmentation": {"views": 3, "crop_min_side": 0.7, "scale_jitter": [1, 1.5]},
        },
        "training": {"epochs": 9, "batch_size": 4, "warmup_steps": 5, "learning_rate": 1e-3, "log_every": 1},
    }
    words = [f"{key}={value}" for key, value in (changes or {}).items()]
    return load_experiment(config.Experiment.model_validate(settings), overrides=words, environ={}).experiment


def with_cache(plain: config.Experiment, folder: Path, **changes: Any) -> config.Experiment:
    """The same with a cache in this folder."""
    return plain.model_copy(
        update={"feature_cache": config.FeatureCache(mode="on", folder=folder, **{"storage": "fp32"} | changes)}
    )


def cached(wanted: config.Experiment) -> CachedRun:
    """What the cache knows of an experiment, prepared."""
    return as_cached(prepare(wanted, check=False))


class Listener:
    """A watcher that remembers, and stops before the batch after `batches`."""

    def __init__(self, batches: int = 10**9) -> None:
        self.lines: list[str] = []
        self.left = batches
        self.done = 0

    def say(self, line: str) -> None:
        self.lines.append(line)

    def start(self, description: str, batches: int) -> None:
        pass

    def advance(self) -> None:
        self.left -= 1
        self.done += 1

    def check(self) -> None:
        if self.left <= 0:
            raise StoppedError("stopped")
