"""Settings of the training: optimiser, schedule, precision, checkpoints."""

from typing import Annotated, Literal

from pydantic import Field

from dinotune.config.base import Count, FromKindName, NonNegativeFloat, PositiveFloat, Section, Switch

Decay = Annotated[float, Field(ge=0, lt=1)]


class Adamw(Section):
    """AdamW (Loshchilov and Hutter 2019)."""

    kind: Literal["adamw"] = "adamw"
    """Name of the optimiser."""
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    """Decay of the running means of gradient and squared gradient."""


class Sgd(Section):
    """Stochastic gradient descent with momentum."""

    kind: Literal["sgd"] = "sgd"
    """Name of the optimiser."""
    momentum: Decay = 0.9
    """Momentum."""
    nesterov: Switch = False
    """Use Nesterov's form of the momentum."""


class Cosine(Section):
    """Cosine from the full learning rate down to a share of it."""

    kind: Literal["cosine"] = "cosine"
    """Name of the schedule."""
    final_share: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Learning rate at the end as a share of the full one."""


class Steps(Section):
    """Learning rate multiplied by a factor at given epochs."""

    kind: Literal["steps"] = "steps"
    """Name of the schedule."""
    epochs: Annotated[tuple[Count, ...], Field(min_length=1)]
    """Epochs (0-based) at whose start the learning rate drops."""
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Factor of each drop."""


Optimizer = Annotated[Adamw | Sgd, Field(discriminator="kind"), FromKindName]
Schedule = Annotated[Cosine | Steps, Field(discriminator="kind"), FromKindName]


class Training(Section):
    """How long, how fast and in which precision the model learns, and what is kept."""

    epochs: Count = 50
    """Passes over the training pictures."""
    batch_size: Count = 8
    """Pictures per step and device."""
    accumulate: Count = 1
    """Steps whose gradients are added before the weights change."""
    learning_rate: PositiveFloat = 1e-4
    """Learning rate of head and adapter; taken as it is, never scaled by batch size or devices."""
    weight_decay: NonNegativeFloat = 0.05
    """Weight decay; 0 on norms, biases, tokens and positions."""
    optimizer: Optimizer = Adamw()
    """Optimiser."""
    schedule: Schedule = Cosine()
    """Course of the learning rate after the warm-up."""
    warmup_steps: Annotated[int, Field(strict=True, ge=0)] = 100
    """Steps over which the learning rate rises linearly from 0; at most a quarter of the run is taken."""
    clip: NonNegativeFloat = 1.0
    """Largest norm of all gradients together; 0 turns clipping off."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Arithmetic under autocast (weights stay fp32); `auto` is bf16 on a GPU that has it, else fp32."""
    validate_every: Count = 1
    """Epochs between evaluations on the validation split; the last epoch is always evaluated."""
    checkpoint_every: Count | None = None
    """Keep a file for use every this many epochs, beside last and best."""
    checkpoint_every_steps: Count | None = None
    """Write `last.ckpt` also every this many steps, so that a killed run loses no more."""
    log_every: Count = 10
    """Steps between lines in `metrics.jsonl`."""
    max_skipped_steps: Annotated[int, Field(strict=True, ge=0)] = 10
    """Steps with a loss that is not finite that are skipped, with their pictures named, before training stops."""
    deterministic: Switch = False
    """Use only deterministic algorithms (slower on a GPU; the CPU is exact either way)."""
