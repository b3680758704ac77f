"""`training.batch_size: auto`: real steps on the largest network input say how many pictures fit.

Weights, random state and everything else of the model are afterwards what they were.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from dinotune import config
from dinotune.checkpoints import load_trained_state, trained_state
from dinotune.data.loader import Pictures, Sample, collate
from dinotune.data.records import Records
from dinotune.data.sampler import Draw, TrainBatchSampler
from dinotune.device import Precision, autocast, memory_explained
from dinotune.errors import DataError, SettingsError
from dinotune.model import Model
from dinotune.training.memory import can_measure, free_bytes, peak_bytes, reset_peak
from dinotune.training.optimizer import build_optimizer

MOST_ON_CPU = 16

SHARE = 0.8
"""Part of the memory that a step may take; pictures of many shapes split up the rest."""


def find_batch_size(
    model: Model, experiment: config.Experiment, train: Records, device: torch.device, precision: Precision
) -> tuple[int, str]:
    """The batch size that `auto` stands for, and a sentence about it.

    Raises:
        SettingsError: memory cannot be measured here.
    """
    if not can_measure(device):
        raise SettingsError(f"training.batch_size: memory cannot be measured on {device}; give a number, e.g. 8")
    most = max(1, len(train) // 4)
    most = min(most, MOST_ON_CPU) if device.type == "cpu" else most
    fork = torch.random.fork_rng([device] if device.type == "cuda" else [])
    with memory_explained(), as_before(model, device), fork:
        steps = TrialSteps(model, experiment, train, device, precision)
        allowed = SHARE * free_bytes(device)
        size, needed = _grow(steps, most, allowed) if device.type == "cuda" else _extrapolate(steps, most, allowed)
    height, width = steps.image_hw
    return size, (
        f"batch size: {size} (auto: {needed / 2**30:.1f} of {allowed / 2**30:.1f} GiB allowed at {height} x {width}; "
        f"at most {most})"
    )


def _grow(steps: "TrialSteps", most: int, allowed: float) -> tuple[int, float]:
    """Double the batch until memory is short; the last that was allowed, and what it needs."""
    size, needed = 1, float(steps.peak(1))
    while 2 * size <= most:
        try:
            twice = steps.peak(2 * size)
        except torch.OutOfMemoryError:
            break
        if twice > allowed:
            break
        size, needed = 2 * size, float(twice)
    return size, needed


def _extrapolate(steps: "TrialSteps", most: int, allowed: float) -> tuple[int, float]:
    """A CPU that runs out of memory ends the process, so one and two pictures must tell."""
    first, second = steps.peak(1), steps.peak(2)
    each = max(0, second - first)
    size = 1
    while 2 * size <= most and first + (2 * size - 1) * each <= allowed:
        size *= 2
    return size, first + (size - 1) * each


@contextmanager
def as_before(model: Model, device: torch.device) -> Iterator[None]:
    """Have the model on the device, in training mode; afterwards it is where and what it was."""
    was_training, before = model.training, next(model.parameters()).device
    state = {name: tensor.clone() for name, tensor in trained_state(model).items()}
    model.to(device).train()
    try:
        yield
    finally:
        model.zero_grad(set_to_none=True)
        model.to(before).train(was_training)
        model.backbone.set_epoch(0)
        load_trained_state(model, state)
        if device.type == "cuda":
            torch.cuda.empty_cache()


class TrialSteps:
    """Steps of training with the largest network input, and as many boxes as any picture has."""

    def __init__(
        self, model: Model, experiment: config.Experiment, train: Records, device: torch.device, precision: Precision
    ) -> None:
        self.model = model
        self.device = device
        self.precision = precision
        multiple, seed = model.size_multiple, experiment.seed
        sampler = TrainBatchSampler(train, experiment.data, batch_size=1, multiple=multiple, seed=seed)
        self.image_hw = sampler.largest_hw()
        self.busiest = _busiest(train, experiment.data, self.image_hw)
        enter_largest_stage(model, experiment)
        self.optimizer = build_optimizer(model, experiment.training)
        for group in self.optimizer.param_groups:
            group["lr"] = 0.0
        self._step(1)  # The optimiser's own tensors come into being with its first step.

    def peak(self, pictures: int) -> int:
        """Peak memory in bytes of a step with this many pictures."""
        reset_peak(self.device)
        self._step(pictures)
        return peak_bytes(self.device)

    def _step(self, pictures: int) -> None:
        images = torch.rand(pictures, 3, *self.image_hw, device=self.device)
        targets = collate([self.busiest] * pictures).targets.to(self.device)
        with autocast(self.device, self.precision):
            loss = self.model.loss(images, targets).total
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()


def _busiest(train: Records, data: config.Data, image_hw: tuple[int, int]) -> Sample:
    """The picture with the most objects, with its labels, at this size of the network input.

    Raises:
        DataError: the picture cannot be read.
    """
    height, width = image_hw
    index = int(np.diff(train.offsets).argmax())
    sample = Pictures(train, data, training=False)[Draw(index, height, width, seed=0, epoch=0, batch=0)]
    if sample.error:
        raise DataError(sample.error)
    return sample


def enter_largest_stage(model: Model, experiment: config.Experiment) -> None:
    """Enter the backbone's stage in which most of it learns."""

    def learning(epoch: int) -> int:
        model.backbone.set_epoch(epoch)
        return sum(parameter.numel() for parameter in model.backbone.parameters() if parameter.requires_grad)

    starts = [stage.from_epoch for stage in experiment.backbone.trainable]
    epochs = [0, *(start for start in starts if start < experiment.training.epochs)]
    model.backbone.set_epoch(max(epochs, key=learning))
