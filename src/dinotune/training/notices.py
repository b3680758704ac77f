"""What a user should know of settings before a run: those that do nothing here, and those too small for the data."""

import math

import numpy as np

from dinotune import config
from dinotune.config.tasks import MEASURED_BY
from dinotune.data.problems import counted
from dinotune.data.records import Records
from dinotune.training.optimizer import warmup_steps

FINDERS = config.FasterRcnn | config.QueryHead | config.InstanceMaskDecoder
"""Heads that find objects, of which they have a limited number."""


def ignored_settings(experiment: config.Experiment, steps_per_epoch: int) -> list[str]:
    """Settings that this run is too short for, or that others leave nothing to do; a sentence each."""
    training, steps = experiment.training, experiment.training.epochs * steps_per_epoch
    notices = []
    if (warmup := warmup_steps(training, steps)) < training.warmup_steps:
        notices.append(
            f"training.warmup_steps: {training.warmup_steps} is too long for {counted(steps, 'step')}; {warmup} taken"
        )
    if isinstance(training.schedule, config.Steps):
        late = [epoch for epoch in training.schedule.epochs if epoch >= training.epochs]
        if late:
            notices.append(f"training.schedule.epochs: {late} never come in {training.epochs} epochs")
    late = [stage.from_epoch for stage in experiment.backbone.trainable if stage.from_epoch >= training.epochs]
    if late:
        notices.append(f"backbone.trainable: from_epoch {late} never comes in {training.epochs} epochs")
    evaluations = math.ceil(training.epochs / training.validate_every)
    if training.early_stopping is not None and training.early_stopping.patience >= evaluations:
        patience = training.early_stopping.patience
        notices.append(
            f"training.early_stopping.patience: {patience} never runs out in {counted(evaluations, 'evaluation')}"
        )
    slots = experiment.head.slots if isinstance(experiment.head, FINDERS) else 0
    limit = experiment.evaluation.max_detections
    if slots and limit > max(100, slots):
        notices.append(f"evaluation.max_detections: {limit}, but head.slots gives {slots} per picture at the most")
    return [*notices, *_idle_evaluation(experiment), *_idle_settings(experiment.head)]


def _idle_evaluation(experiment: config.Experiment) -> list[str]:
    """Settings of the evaluation that are for other tasks, or for windows where there are none."""
    wanted, head = experiment.evaluation, experiment.head
    foreign = {name for names in MEASURED_BY.values() for name in names}.difference(MEASURED_BY[head.task])
    notices = [
        f"evaluation.{name}: does nothing while head.kind is {head.kind}"
        for name, field in type(wanted).model_fields.items()
        if name in foreign and getattr(wanted, name) != field.default
    ]
    if "window" not in foreign and wanted.window is None and wanted.window_stride is not None:
        notices.append("evaluation.window_stride: does nothing while evaluation.window is null")
    return notices


def _idle_settings(head: config.Head) -> list[str]:
    """Settings that another one leaves nothing to do, where they are switched on or not at their default."""
    if not isinstance(head, config.QueryHead):
        return []
    return [
        f"head.{name}: does nothing while head.{other} is {str(value).lower()}"
        for (other, value), names in head.idle.items()
        if getattr(head, other) == value
        for name in names
        if getattr(head, name) is True or getattr(head, name) != type(head).model_fields[name].default
    ]


def describe_crowding(head: config.Head, train: Records) -> str:
    """How many pictures show more objects than the head can find; empty where none does."""
    if not isinstance(head, FINDERS):
        return ""
    limits = {"slots": head.slots}
    if not isinstance(head, config.FasterRcnn):
        limits["queries"] = head.queries
    name, limit = min(limits.items(), key=lambda item: item[1])
    images = np.repeat(np.arange(len(train)), np.diff(train.offsets))[~train.crowd]
    counts = np.bincount(images, minlength=1)
    if counts.max() <= limit:
        return ""
    pictures = counted(int((counts > limit).sum()), "training picture")
    found = counted(limit, "object")
    return f"head.{name}: at most {found} in a picture can be found; more, up to {counts.max()}, are in {pictures}"
