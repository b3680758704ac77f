"""Parameter groups, optimiser and the course of the learning rate."""

import math
from typing import Any

import torch
from torch import nn

from dinotune import config
from dinotune.model import Model

NO_DECAY_WORDS = ("token", "pos_embed", "position")


def parameter_groups(model: Model, training: config.Training) -> list[dict[str, Any]]:
    """Groups with their own learning rate and weight decay; each parameter that ever learns is in one.

    Norms, biases, scales, tokens and positions get no weight decay.
    """
    rate, decay = training.learning_rate, training.weight_decay
    slower = model.head.learning_rate_factors()
    learning = [
        (
            rate * factor,
            decay,
            [(name, p) for name, p in model.head.named_parameters() if slower.get(name, 1) == factor],
        )
        for factor in sorted({1.0, *slower.values()}, reverse=True)
    ]
    learning += [(own or rate, decay, parameters) for own, parameters in model.backbone.stage_parameters()]
    if (adapter := model.adapter) is not None:
        shares = (rate * adapter.learning_rate_factor, decay * adapter.weight_decay_factor)
        learning.append((*shares, model.backbone.adapter_parameters()))
    groups = []
    for own_rate, own_decay, named in learning:
        for decays in (True, False):
            chosen = [parameter for name, parameter in named if _decays(name, parameter) is decays]
            if chosen:
                groups.append({"params": chosen, "lr": own_rate, "weight_decay": own_decay if decays else 0.0})
    return groups


def _decays(name: str, parameter: nn.Parameter) -> bool:
    return parameter.ndim > 1 and not any(word in name for word in NO_DECAY_WORDS)


def build_optimizer(model: Model, training: config.Training) -> torch.optim.Optimizer:
    """The optimiser that `training.optimizer.kind` names; fused, which a small model notices most on a CPU."""
    groups = parameter_groups(model, training)
    match training.optimizer:
        case config.Adamw(betas=betas):
            return torch.optim.AdamW(groups, betas=betas, fused=True)
        case config.Adam(betas=betas):
            return torch.optim.Adam(groups, betas=betas, fused=True)
        case config.Sgd(momentum=momentum, nesterov=nesterov):
            return torch.optim.SGD(groups, momentum=momentum, nesterov=nesterov)


def warmup_steps(training: config.Training, steps: int) -> int:
    """Length of the warm-up in a run of this many steps: as set, but at most a quarter of the run."""
    return min(training.warmup_steps, steps // 4)


def learning_rate_factor(step: int, *, training: config.Training, steps_per_epoch: int) -> float:
    """Learning rate of a step as a share of the full one: linear warm-up, then the schedule."""
    steps = training.epochs * steps_per_epoch
    warmup = warmup_steps(training, steps)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    match training.schedule:
        case config.Cosine(final_share=final):
            done = min(1.0, (step - warmup) / max(1, steps - warmup))
            return final + (1 - final) * (1 + math.cos(math.pi * done)) / 2
        case config.Steps(epochs=epochs, factor=factor):
            drops = sum(step >= epoch * steps_per_epoch for epoch in epochs)
            return float(factor**drops)
