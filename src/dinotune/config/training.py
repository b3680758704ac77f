"""Settings of the training: optimiser, schedule, precision, checkpoints."""

from typing import Annotated, Any, Literal

from pydantic import Field

from dinotune.config.base import Count, FromKindName, NonNegativeFloat, PositiveFloat, Section, Share, Switch, UserPath

ScoreName = Literal["AP", "AP50", "AP75", "top1", "top5"]
"""All scores that `config.tasks.SCORES` shows."""

Decay = Annotated[float, Field(ge=0, lt=1)]


class Adamw(Section):
    """AdamW (Loshchilov and Hutter 2019)."""

    kind: Literal["adamw"] = "adamw"
    """Name of the optimiser."""
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    """Decay of the running means of gradient and squared gradient."""


class Adam(Section):
    """Adam (Kingma and Ba 2015): its weight decay is added to the gradient, so it takes a far smaller one than AdamW."""

    kind: Literal["adam"] = "adam"
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


class EarlyStopping(Section):
    """When to stop before the last epoch."""

    patience: Count = 10
    """Evaluations in a row without improvement after which training stops."""
    metric: Literal["score", "loss"] = "score"
    """What must improve on the validation split: the task's score (AP of a detector, top1 of a classifier) upwards, or the loss downwards."""
    min_improvement: NonNegativeFloat = 0.0
    """Smaller steps forward do not count."""

    @classmethod
    def expand(cls, value: Any) -> Any:
        """A number stands for `patience`."""
        return {"patience": value} if isinstance(value, int) and not isinstance(value, bool) else value


class Goal(Section):
    """What the best evaluation must reach."""

    metric: ScoreName | None = None
    """Name of the score; none takes AP50 for a detector, top1 for a classifier."""
    value: Share = 0.9
    """Its smallest value that passes."""


Optimizer = Annotated[Adamw | Adam | Sgd, Field(discriminator="kind"), FromKindName]
Schedule = Annotated[Cosine | Steps, Field(discriminator="kind"), FromKindName]


class Training(Section):
    """How long, how fast and in which precision the model learns, and what is kept."""

    epochs: Count = 50
    """Passes over the training pictures."""
    minutes: PositiveFloat | None = None
    """Wall minutes that training and its evaluations should take on this machine: steps timed beforehand choose `epochs`, and `validate_every` for at most eight evaluations; the run stores those numbers, and none here."""
    batch_size: Count | Literal["auto"] = 8
    """Pictures per step and device; `auto` tries the largest network input, takes the largest power of two that leaves a fifth of the free memory, at most a quarter of the training pictures and on the CPU 16, and stores the number in the run."""
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
    ema_decay: Decay | None = None
    """Decay per step of a running mean of the learning weights (0.9998 is usual; less in the first steps), which evaluations and files for use then take; none keeps no mean."""
    initialize_from: UserPath | None = None
    """Run folder or model file whose weights the model starts with, as far as names, shapes and class names fit; none starts anew."""
    warmup_steps: Annotated[int, Field(strict=True, ge=0)] = 100
    """Steps over which the learning rate rises linearly from 0; at most a quarter of the run is taken."""
    clip: NonNegativeFloat = 1.0
    """Largest norm of all gradients together; 0 turns clipping off."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Arithmetic under autocast (weights stay fp32); `auto` is bf16 on a GPU that has it, else fp32."""
    validate_every: Count = 1
    """Epochs between evaluations on the validation split; the last epoch is always evaluated."""
    early_stopping: EarlyStopping | None = None
    """Stop once evaluations no longer improve; a number stands for `patience`, none trains all epochs."""
    must_reach: Goal | None = None
    """Score that the run must reach: it ends with PASS, or with FAIL and exit status 1; none judges nothing."""
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

    @property
    def pictures_per_step(self) -> int:
        """`batch_size` of a prepared run, whose `auto` is resolved."""
        assert self.batch_size != "auto"
        return self.batch_size
