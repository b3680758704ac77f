"""What a training would do, told without training: sizes, steps, memory at the least, room on the disk."""

import math
import shutil
from collections import Counter
from pathlib import Path

from dinotune.data.buckets import network_size
from dinotune.data.sampler import TrainBatchSampler
from dinotune.training.notices import ignored_settings
from dinotune.training.preparation import Preparation

FLOAT_BYTES = 4
LEARNING_COPIES = 4
"""Weight, gradient, and two moments of Adam."""


def outlook(preparation: Preparation, out: Path) -> list[str]:
    """A sentence each; `out` is the folder below which the run would be written."""
    experiment, train = preparation.experiment, preparation.train
    training = experiment.training
    sampler = TrainBatchSampler(
        train,
        experiment.data,
        batch_size=int(training.batch_size),
        multiple=preparation.model.size_multiple,
        seed=experiment.seed,
    )
    steps = math.ceil(len(sampler) / training.accumulate)
    return [
        *preparation.opening,
        _sizes(preparation),
        f"steps: {steps:,} per epoch of {len(sampler):,} batches of at most {training.batch_size}, "
        f"{steps * training.epochs:,} in {training.epochs} epochs",
        _memory(preparation),
        _disk(out),
        *ignored_settings(experiment, steps),
    ]


def _sizes(preparation: Preparation) -> str:
    """Network sizes without augmentation, with the number of training pictures each."""
    data, multiple = preparation.experiment.data, preparation.model.size_multiple
    counts = Counter(network_size((h, w), data, multiple) for h, w in preparation.train.sizes_hw.tolist())
    sizes = ", ".join(f"{width} x {height}: {count:,}" for (height, width), count in counts.most_common())
    return f"network sizes (width x height: pictures), before augmentation: {sizes}"


def _memory(preparation: Preparation) -> str:
    model = preparation.model
    learning = sum(p.numel() for p in model.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in model.parameters()) - learning
    gigabytes = (frozen + LEARNING_COPIES * learning) * FLOAT_BYTES / 2**30
    return f"memory: {gigabytes:.2f} GB for weights, gradients and optimizer; what a batch needs comes on top"


def _disk(out: Path) -> str:
    existing = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.is_dir())
    return f"disk: {shutil.disk_usage(existing).free / 2**30:.1f} GB free for {out}"
