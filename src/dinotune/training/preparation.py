"""All that a run needs before anything is written: device, data, model. What is wrong shows here."""

from dataclasses import dataclass

import torch

from dinotune import config
from dinotune.build import build_model, sketch_model
from dinotune.data.problems import counted
from dinotune.data.records import Records
from dinotune.data.splits import read_records
from dinotune.device import Precision, resolve_device, resolve_precision
from dinotune.feature_cache.decision import decide
from dinotune.feature_cache.run import CachedRun
from dinotune.model import Model
from dinotune.training.batch_size import find_batch_size
from dinotune.training.data_check import check_before_training, require_labels
from dinotune.training.duration import find_epochs
from dinotune.training.initialization import initialize
from dinotune.training.notices import describe_crowding
from dinotune.training.parameters import learning_parameters

OBJECTS = {"boxes": "box", "instance_masks": "mask"}
"""What a label of an object is called, by what labels are used for."""


@dataclass(frozen=True)
class Preparation:
    """An experiment with its data read and its model built."""

    experiment: config.Experiment
    """The settings, with numbers in the places of `training.batch_size: auto` and of `training.minutes`."""
    device: torch.device
    precision: Precision
    train: Records
    measured: Records
    """The split that training validates on."""
    model: Model
    opening: tuple[str, ...]
    """What a user should see before training: device, data, what was loaded, what learns."""


def prepare(
    experiment: config.Experiment,
    *,
    resume: bool = False,
    check: bool = True,
    unmodified: config.Experiment | None = None,
) -> Preparation:
    """Resolve the device and the batch size, read the data, build the model and, unless resumed, initialise it.

    What learns is compared with the experiment `unmodified`, i.e. before its modifiers, where it is given.
    Pictures are decoded before, as `check_before_training` has it, unless the run is resumed or `check` is off.

    Raises:
        DinotuneError: anything the user can mend; nothing has been written yet.
    """
    device = resolve_device(experiment.device)
    precision = resolve_precision(experiment.training.precision, device)
    needs = experiment.needs
    train = read_records(experiment.data, "train", seed=experiment.seed, needs=needs)
    split = experiment.evaluation.split
    require_labels(experiment, train)
    measured = (
        train
        if split == "train"
        else read_records(experiment.data, split, seed=experiment.seed, labels=train.labels, needs=needs)
    )
    require_labels(experiment, measured)
    checked = [check_before_training(experiment, {"train": train, split: measured})] if check and not resume else []
    model, report = build_model(experiment, train.labels)
    opening = [
        f"device: {device}, precision: {precision}",
        describe_records(train),
        describe_records(measured) if measured is not train else "measured on the training pictures",
        *filter(None, [describe_crowding(experiment.head, train)]),
        *checked,
        report.describe(),
        _describe_parameters(model, experiment),
        *filter(None, [_describe_change(model, unmodified, len(train.labels))]),
        *filter(None, [model.adapter.describe(model.backbone) if model.adapter else ""]),
    ]
    training = experiment.training
    if training.initialize_from is not None and not resume:
        opening.append(initialize(model, train.labels, training.initialize_from))
    if training.batch_size == "auto":
        size, found = find_batch_size(model, experiment, train, device, precision)
        opening.append(found)
        training = training.model_copy(update={"batch_size": size})
        experiment = experiment.model_copy(update={"training": training})
    if not resume:
        decision = decide(CachedRun(model, experiment, train, measured, device, precision))
        opening.extend(decision.lines)
        experiment, training = decision.experiment, decision.experiment.training
    if training.minutes is not None:
        training, found = find_epochs(model, experiment, train, measured, device, precision)
        opening.append(found)
        experiment = experiment.model_copy(update={"training": training})
    return Preparation(experiment, device, precision, train, measured, model, tuple(opening))


def describe_records(records: Records) -> str:
    """Counts of a split, and what the reader left out or changed."""
    objects = {OBJECTS[records.has]: len(records.boxes)} if records.has in OBJECTS else {}
    numbers = {"picture": len(records), **objects, "class": len(records.labels)}
    counts = ", ".join(counted(number, noun) for noun, number in numbers.items())
    return "\n  ".join([f"data: {records.name}: {counts}", *records.notes])


def _describe_parameters(model: Model, experiment: config.Experiment) -> str:
    """Norms and biases that learn as the adapter are counted there, so that the numbers add up."""
    learning = learning_parameters(model)
    learns, adapter = learning["backbone"], learning["adapter"]
    backbone = sum(p.numel() for p in model.backbone.parameters()) - adapter
    head = sum(p.numel() for p in model.head.parameters())
    counts = f"parameters: backbone {backbone:,} ({learns:,} learn), "
    counts += f"adapter {adapter:,}, head {head:,}" if adapter else f"head {head:,}"
    if learns or model.backbone.identity.sha256 is not None or experiment.training.initialize_from is not None:
        return counts
    return f"{counts}\n  the backbone's random weights never learn; backbone.trainable=all lets them"


def _describe_change(model: Model, unmodified: config.Experiment | None, classes: int) -> str:
    """How many parameters learn with the modifiers and without; empty where that is as many, or not known."""
    before = None if unmodified is None else sketch_model(unmodified, classes)
    if before is None:
        return ""
    counts = [sum(learning_parameters(each).values()) for each in (model, before)]
    if counts[0] == counts[1]:
        return ""
    change = counts[0] / counts[1] - 1
    return (
        f"modifiers: {counts[0]:,} parameters learn instead of {counts[1]:,} "
        f"({abs(change):.0%} {'more' if change > 0 else 'fewer'})"
    )
