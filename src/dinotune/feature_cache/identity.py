"""What features depend on beside the pictures: weights, cut, views, arithmetic. Other values make another cache."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import PIL
import timm
import torch

import dinotune
from dinotune import config
from dinotune.backbones.base import Backbone
from dinotune.device import Precision
from dinotune.model import Model

VIEW_SETTINGS = ("resize", "size", "max_size")
"""Settings of the data that decide what a view shows, beside the augmentation."""


@dataclass(frozen=True)
class Identity:
    """The identity of a cache, and the folder that it gets."""

    values: dict[str, Any]

    @property
    def digest(self) -> str:
        """Short hash of all values."""
        return hashlib.sha256(json.dumps(self.values, sort_keys=True).encode()).hexdigest()[:16]

    def folder(self, root: Path) -> Path:
        """Its folder below that of all caches."""
        return root / f"{self.values['data']}-{self.values['split']}-{self.digest}"

    def differences(self, other: dict[str, Any]) -> list[str]:
        """Names of the values that are not those of another one."""
        return [name for name in {**self.values, **other} if self.values.get(name) != other.get(name)]


def identity_of(
    model: Model,
    experiment: config.Experiment,
    precision: Precision,
    split: str,
    *,
    training: bool,
    weights: str,
    classes: Sequence[str],
) -> Identity:
    """The identity of the features of a split, seen as in training or as in an evaluation.

    `weights` is the hash of the model's `frozen_weights`; `classes` tell data sets apart whose folders have one name.
    """
    backbone, data = model.backbone, experiment.data
    views = {name: data.model_dump()[name] for name in VIEW_SETTINGS}
    if training:
        views |= {"augmentation": data.augmentation.model_dump(), "seed": experiment.seed}
    values = {
        "data": data.root.resolve().name if data.root else "data",
        "classes": hashlib.sha256(json.dumps(classes).encode()).hexdigest()[:16],
        "split": split if training else f"{split}-plain",
        "code": [package.__version__ for package in (dinotune, timm, torch, PIL)],
        "backbone": Path(backbone.identity.id).name,
        "weights": weights,
        "cut": vars(backbone.cut_place),
        "normalisation": [backbone.mean, backbone.std],
        "views": views,
        "size_multiple": model.size_multiple,
        "labels": experiment.needs,
        "precision": precision,
        "storage": experiment.feature_cache.storage,
    }
    return Identity(json.loads(json.dumps(values)))


def frozen_weights(backbone: Backbone) -> str:
    """Hash of everything in the backbone that does not learn now."""
    digest = hashlib.blake2b(digest_size=16)
    for parameter in backbone.parameters():
        if not parameter.requires_grad:
            digest.update(parameter.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
