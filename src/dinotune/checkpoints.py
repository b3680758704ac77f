"""Files for use: what was trained, the backbone's identity, settings, classes and thresholds.

One loader reads every file a run writes: `.safetensors` files for use, and `last.ckpt` for resuming.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from dinotune import config
from dinotune.backbones.base import Backbone
from dinotune.build import build_model
from dinotune.data.records import LabelSet
from dinotune.errors import DinotuneError, WeightsError
from dinotune.files import write_atomically
from dinotune.model import Model

METADATA_KEY = "dinotune"

AVERAGED_KEY = "averaged_weights"
"""Where `last.ckpt` holds the running mean of the weights, if the run keeps one."""


@dataclass(frozen=True)
class Description:
    """Everything but the tensors: enough to build the model again."""

    experiment: config.Experiment
    labels: LabelSet
    backbone_sha256: str | None
    """Identity of the frozen weights; none where all weights are in the file (random ones)."""
    thresholds: dict[str, float | None]
    """Score with the best F1 per class name, from the last evaluation before the file was written."""
    epoch: int
    metrics: dict[str, float | None]

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` reads them back."""
        return {
            "experiment": self.experiment.model_dump(mode="json"),
            "labels": {"names": self.labels.names, "ids": self.labels.ids},
            "backbone_sha256": self.backbone_sha256,
            "thresholds": self.thresholds,
            "epoch": self.epoch,
            "metrics": self.metrics,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Description":
        """The inverse of `to_json`."""
        return cls(
            experiment=config.Experiment.model_validate(values["experiment"]),
            labels=LabelSet(tuple(values["labels"]["names"]), tuple(values["labels"]["ids"])),
            backbone_sha256=values["backbone_sha256"],
            thresholds=values["thresholds"],
            epoch=values["epoch"],
            metrics=values["metrics"],
        )


def trained_state(model: Model) -> dict[str, Tensor]:
    """All that a checkpoint must hold: the head, the adapter, what learns in the backbone in any stage, their buffers.

    Frozen weights with a file identity are left out; random ones are included.
    """
    state: dict[str, Tensor] = model.state_dict()
    if model.backbone.identity.sha256 is None:
        return state
    kept = _learning_names(model.backbone)
    whole = ("head.", "backbone.after_blocks.")
    return {name: tensor for name, tensor in state.items() if name.startswith(whole) or name in kept}


def _learning_names(backbone: Backbone) -> set[str]:
    """Names in the model's state of parameters that learn in any stage or by an adapter, and of buffers beside them."""
    groups = [*(group for _, group in backbone.stage_parameters()), backbone.adapter_parameters()]
    parameters = {name for group in groups for name, _ in group}
    owners = {name.rpartition(".")[0] for name in parameters}
    buffers = {name for name, _ in backbone.named_buffers() if name.rpartition(".")[0] in owners}
    return {f"backbone.{name}" for name in parameters | buffers}


def load_trained_state(model: Model, state: dict[str, Tensor]) -> None:
    """Put a checkpoint's tensors into a model. WeightsError names every missing or unexpected tensor."""
    expected = trained_state(model).keys()
    missing, unexpected = sorted(expected - state.keys()), sorted(state.keys() - expected)
    if missing or unexpected:
        raise WeightsError(
            f"checkpoint and settings disagree: missing {missing[:5] or 'nothing'}, unexpected "
            f"{unexpected[:5] or 'nothing'} (at most 5 named); load it with the settings it was trained with"
        )
    model.load_state_dict(state, strict=False)


def write_checkpoint(path: Path, model: Model, description: Description) -> None:
    """Write a `.safetensors` file for use, atomically."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in trained_state(model).items()}
    metadata = {METADATA_KEY: json.dumps(description.to_json())}
    write_atomically(path, lambda temporary: save_file(state, temporary, metadata))


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], Description]:
    """Tensors for use (averaged ones where the run keeps a mean) and description of a `.safetensors` file or `last.ckpt`."""
    if path.suffix == ".ckpt":
        resumable = read_resume_file(path)
        return resumable.weights | resumable.averaged, resumable.description
    with _damage_explained(path), safe_open(path, framework="pt") as opened:
        description = json.loads((opened.metadata() or {})[METADATA_KEY])
        # The opened file is no mapping.
        state = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        return state, Description.from_json(description)


@dataclass(frozen=True)
class Resumable:
    """What `last.ckpt` holds beside optimiser and progress."""

    weights: dict[str, Tensor]
    """As the last step left them."""
    averaged: dict[str, Tensor]
    """Their running mean, for those of which the run keeps one."""
    description: Description
    run_state: dict[str, Any]
    """Plain values of the run's state."""
    steps: int
    """Optimiser steps done."""


def read_resume_file(path: Path) -> Resumable:
    """Our part of a `last.ckpt`. DinotuneError where it is missing, damaged or of another tool."""
    with _damage_explained(path):
        stored = torch.load(path, map_location="cpu", weights_only=True)
        return Resumable(
            weights={name.removeprefix("model."): tensor for name, tensor in stored["state_dict"].items()},
            averaged=stored.get(AVERAGED_KEY, {}).get("weights", {}),
            description=Description.from_json(json.loads(stored[METADATA_KEY]["description"])),
            run_state=json.loads(stored[METADATA_KEY]["state"]),
            steps=int(stored["global_step"]),
        )


@contextmanager
def _damage_explained(path: Path) -> Iterator[None]:
    """Whatever goes wrong while a file is read says which file; a restricted unpickler raises anything."""
    if not path.is_file():
        raise DinotuneError(f"{path}: no such checkpoint file")
    try:
        yield
    except Exception as error:
        lines = str(error).splitlines() or [""]
        raise DinotuneError(
            f"{path}: not a checkpoint of dinotune, or damaged ({type(error).__name__}: {lines[0][:200]}); "
            "use another file of the run's checkpoints folder"
        ) from error


def load_model(path: Path) -> tuple[Model, Description]:
    """Build the model a checkpoint describes and put its weights in, on the CPU and in eval mode.

    Raises:
        WeightsError: the backbone's frozen weights are not the ones it was trained with.
    """
    state, description = read_checkpoint(path)
    model, _ = build_model(description.experiment, description.labels)
    check_backbone(path, model, description)
    load_trained_state(model, state)
    return model.eval(), description


def check_backbone(path: Path, model: Model, description: Description) -> None:
    """WeightsError where the backbone's file is not the one that the checkpoint was trained on."""
    found = model.backbone.identity.sha256
    if found != description.backbone_sha256:
        raise WeightsError(
            f"{path}: trained on backbone weights with sha256 {description.backbone_sha256}, "
            f"but {model.backbone.identity.id} now has {found}; put the same weights there again"
        )
