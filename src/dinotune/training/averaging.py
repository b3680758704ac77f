"""A running mean of the weights that learn; evaluations and files for use take it instead of the last step's weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from dinotune.model import Model


class AveragedWeights:
    """Exponential moving average of learning parameters; frozen ones are never copied, buffers are the model's own.

    The decay of step n is min(decay, (1 + n) / (10 + n)), so that short runs are not held back by their first weights.
    """

    def __init__(self, model: Model, decay: float) -> None:
        self.model = model
        self.decay = decay
        self.steps = 0
        self.weights: dict[str, Tensor] = {}
        """Means by the parameter's name in the model."""

    def join(self) -> None:
        """Take in what learns from here on, at its current value; what is in already follows the model's device."""
        for name, parameter in self.model.named_parameters():
            if name in self.weights:
                self.weights[name] = self.weights[name].to(parameter.device)
            elif parameter.requires_grad:
                self.weights[name] = parameter.detach().clone()

    @torch.no_grad()
    def update(self) -> None:
        """Move the means towards the weights after a step of the optimiser."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.steps += 1
        for name, parameter in self.model.named_parameters():
            if name in self.weights:
                self.weights[name].lerp_(parameter, 1 - decay)

    @contextmanager
    def in_model(self) -> Iterator[None]:
        """Let the model hold the means inside, and its own weights again afterwards."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for name, parameter in self.model.named_parameters():
            if name in self.weights:
                parameter.data, self.weights[name] = self.weights[name], parameter.data

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold."""
        return {"steps": self.steps, "weights": dict(self.weights)}

    def load(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        self.steps, self.weights = state["steps"], dict(state["weights"])
