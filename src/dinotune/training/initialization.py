"""`training.initialize_from`: take from another model what fits, class by class, and say what was left and why."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from dinotune.checkpoints import Description, read_checkpoint, trained_state
from dinotune.data.records import LabelSet
from dinotune.errors import DinotuneError, SettingsError
from dinotune.files import find_checkpoint
from dinotune.heads.base import ClassRows
from dinotune.model import Model

MOST_NAMED = 8
LORA_BASE = ".base_layer."


def initialize(model: Model, labels: LabelSet, source: Path) -> str:
    """Copy all that fits from a run folder or model file into `model`, and report it.

    Names and shapes must be equal. Parameters with a class axis are copied row by row where class names are equal;
    tensors of the backbone need the same pretrained backbone.

    Raises:
        SettingsError: there is no model at `source`, or nothing of it fits.
    """
    try:
        path = find_checkpoint(source)
        weights, description = read_checkpoint(path)
    except DinotuneError as error:
        raise SettingsError(f"training.initialize_from: {error}") from error
    transfer = Transfer(model, labels, weights, description)
    report = transfer.report(path)
    if not any(name in transfer.taken for name, _ in model.named_parameters()):
        raise SettingsError(
            f"training.initialize_from: nothing in {source} fits; name a run with this head or this backbone, "
            f"or start without: training.initialize_from=none\n  {report}"
        )
    transfer.copy()
    return report


class Transfer:
    """What goes from one model's weights into another model, and what does not."""

    def __init__(self, model: Model, labels: LabelSet, weights: dict[str, Tensor], description: Description) -> None:
        self.own = trained_state(model)
        # A layer that LoRA changes has a longer name than the same layer without.
        plain = {name.replace(LORA_BASE, "."): name for name in self.own}
        self.weights = {plain.get(name.replace(LORA_BASE, "."), name): tensor for name, tensor in weights.items()}
        self.labels = labels
        self.their_labels = description.labels
        self.class_rows = {f"head.{name}": rows for name, rows in model.head.class_rows().items()}
        self.common = [name for name in labels.names if name in description.labels.names]
        identity = model.backbone.identity
        self.their_backbone = description.experiment.backbone.id
        same_file = identity.sha256 == description.backbone_sha256
        # Random weights have no file that could tell them apart, but they are in the checkpoint whole.
        self.same_backbone = same_file and (identity.sha256 is not None or identity.id == self.their_backbone)
        self.left = {name: reason for name in self.own if (reason := self._why_left(name))}
        self.taken = [name for name in self.own if name not in self.left]

    def _why_left(self, name: str) -> str:
        """Why a tensor of the model stays as it is; empty where it is taken."""
        if name.startswith("backbone.") and not self.same_backbone:
            return f"of another backbone ({self.their_backbone})"
        if name not in self.weights:
            return "not in the file"
        ours, theirs = self.own[name].shape, self.weights[name].shape
        rows = self.class_rows.get(name)
        if rows is None:
            fits = ours == theirs
        else:
            if not self.common:
                return "no class in common"
            beside = ours[0] - len(self.labels) * rows.per_class
            fits = ours[1:] == theirs[1:] and beside == theirs[0] - len(self.their_labels) * rows.per_class
        return "" if fits else f"other shapes ({_text(theirs)} there, {_text(ours)} here)"

    @torch.no_grad()
    def copy(self) -> None:
        """Put what is taken into the model."""
        for name in self.taken:
            rows = self.class_rows.get(name)
            if rows is None:
                self.own[name].copy_(self.weights[name])
            else:
                self._copy_rows(self.own[name], self.weights[name], rows)

    def _copy_rows(self, ours: Tensor, theirs: Tensor, rows: ClassRows) -> None:
        end, their_end = (rows.first + len(labels) * rows.per_class for labels in (self.labels, self.their_labels))
        ours[: rows.first] = theirs[: rows.first]
        ours[end:] = theirs[their_end:]
        for name in self.common:
            here, there = (
                rows.first + labels.names.index(name) * rows.per_class for labels in (self.labels, self.their_labels)
            )
            ours[here : here + rows.per_class] = theirs[there : there + rows.per_class]

    def report(self, path: Path) -> str:
        """Counts, classes, and every reason with the tensors it holds for."""
        lines = [f"initialised from {path}: {len(self.taken)} of {len(self.own)} tensors", self._describe_classes()]
        for reason in dict.fromkeys(self.left.values()):
            names = [name for name, other in self.left.items() if other == reason]
            lines.append(f"left as they were, {reason}: {_join(names)}")
        rest = [name for name in self.weights if name not in self.own]
        if homeless := [name for name in rest if self.same_backbone or name.startswith("head.")]:
            lines.append(f"in the file, but not here or frozen here: {_join(homeless)}")
        return "\n  ".join(lines)

    def _describe_classes(self) -> str:
        parts = {
            "classes matched": self.common,
            "new": [name for name in self.labels.names if name not in self.common],
            "left out": [name for name in self.their_labels.names if name not in self.common],
        }
        return "; ".join(f"{word}: {_join(names)}" for word, names in parts.items() if names)


def _text(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "a number"


def _join(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
