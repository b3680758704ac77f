"""`training.minutes`: timed steps and a timed evaluation say how many epochs fit.

Weights, random state and everything else of the model are afterwards what they were.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice, repeat

import torch

from dinotune import config
from dinotune.build import build_answers
from dinotune.data.batches import Batch
from dinotune.data.loader import end_workers, evaluation_loader, training_loader
from dinotune.data.photometric import training_inputs
from dinotune.data.problems import counted
from dinotune.data.records import Records
from dinotune.device import Precision, autocast, memory_explained
from dinotune.evaluation import evaluate_model
from dinotune.model import Model
from dinotune.training.batch_size import as_before, enter_largest_stage
from dinotune.training.optimizer import build_optimizer

MOST_EVALUATIONS = 8

EVALUATION_SHARE = 0.25
"""Part of the time that evaluations may take at the most; where one is slow, there are fewer of them."""

UNTIMED_STEPS = 2
"""The first ones start worker processes, fill caches and make the optimiser's tensors."""

FEWEST_STEPS = 4

TIMED_SHARE = 0.03
"""Part of the time that timing steps may take, and timing the evaluation."""


def find_epochs(
    model: Model,
    experiment: config.Experiment,
    train: Records,
    measured: Records,
    device: torch.device,
    precision: Precision,
) -> tuple[config.Training, str]:
    """`training` with the epochs and `validate_every` that its minutes stand for, and a sentence about them."""
    minutes = experiment.training.minutes
    assert minutes is not None
    timing = Timing(model, experiment, device, precision, seconds=60 * minutes * TIMED_SHARE)
    fork = torch.random.fork_rng([device] if device.type == "cuda" else [])
    with memory_explained(), as_before(model, device), fork:
        epoch, evaluation = timing.epoch(train), timing.evaluation(measured)
    epochs, every = plan(60 * minutes, epoch, evaluation)
    training = experiment.training.model_copy(update={"epochs": epochs, "validate_every": every, "minutes": None})
    return training, (
        f"epochs: {epochs}, evaluated every {every} (for {minutes:g} minutes: {epoch:.1f} s per epoch and "
        f"{evaluation:.1f} s per evaluation of {counted(len(measured), 'picture')}, as timed here)"
    )


def plan(seconds: float, epoch: float, evaluation: float) -> tuple[int, int]:
    """The most epochs, at least one, that fit with their evaluations, and the epochs between evaluations.

    Args:
        seconds: What training may take.
        epoch: Seconds of one epoch without evaluation.
        evaluation: Seconds of one evaluation.
    """
    most = min(MOST_EVALUATIONS, max(1, int(EVALUATION_SHARE * seconds / evaluation)))
    for epochs in range(max(1, int(seconds / epoch)), 0, -1):
        every = math.ceil(epochs / most)
        if epochs * epoch + math.ceil(epochs / every) * evaluation <= seconds:
            return epochs, every
    return 1, 1


@dataclass(frozen=True)
class Timing:
    """Times training and evaluation of a model on its device, `seconds` each."""

    model: Model
    experiment: config.Experiment
    device: torch.device
    precision: Precision
    seconds: float

    def epoch(self, train: Records) -> float:
        """Seconds of an epoch without evaluation, in the stage in which most of the backbone learns."""
        training = self.experiment.training
        loader = training_loader(
            train,
            self.experiment.data,
            batch_size=training.pictures_per_step,
            multiple=self.model.size_multiple,
            seed=self.experiment.seed,
            device_type=self.device.type,
        )
        enter_largest_stage(self.model, self.experiment)
        optimizer = build_optimizer(self.model, training)
        for group in optimizer.param_groups:
            group["lr"] = 0.0  # without a warm-up, real rates could end in numbers that are not finite
        batches = chain.from_iterable(repeat(loader))
        try:
            for batch in islice(batches, UNTIMED_STEPS):
                self._step(batch, optimizer)
            started, steps = time.perf_counter(), 0
            while steps < FEWEST_STEPS or time.perf_counter() - started < self.seconds:
                self._step(next(batches), optimizer)
                steps += 1
            return (time.perf_counter() - started) / steps * len(loader)
        finally:
            end_workers(loader)

    def _step(self, batch: Batch, optimizer: torch.optim.Optimizer) -> None:
        """What a step of training computes; looking at the loss waits for a GPU."""
        if len(batch) == 0:
            return
        moved = batch.to(self.device)
        images = training_inputs(moved, self.experiment.data.augmentation, self.experiment.seed)
        with autocast(self.device, self.precision):
            loss = self.model.loss(images, moved.targets).total
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()

    def evaluation(self, measured: Records) -> float:
        """Seconds of an evaluation, from its first batches; training starts workers once, so that is left out."""
        loader = evaluation_loader(
            measured,
            self.experiment.data,
            batch_size=self.experiment.evaluation.batch_size or self.experiment.training.pictures_per_step,
            multiple=self.model.size_multiple,
            device_type=self.device.type,
        )
        try:
            batches = iter(loader)
            first, started = next(batches), time.perf_counter()
            seen: list[int] = []
            evaluate_model(
                self.model,
                measured,
                self._until_timed(chain([first], batches), seen),
                build_answers(self.experiment, measured, self.model.size_multiple),
                precision=self.precision,
            )
            return (time.perf_counter() - started) / len(seen) * len(loader)
        finally:
            end_workers(loader)

    def _until_timed(self, batches: Iterator[Batch], seen: list[int]) -> Iterator[Batch]:
        """At least one batch, and more until the time is up; `seen` collects their numbers."""
        started = time.perf_counter()
        for batch in batches:
            seen.append(batch.index)
            yield batch
            if time.perf_counter() - started > self.seconds:
                return
