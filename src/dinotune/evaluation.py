"""A model and a split -> losses, metrics and predictions, on exactly the pictures that were run."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dinotune import config
from dinotune.data.batches import Batch
from dinotune.data.records import Records
from dinotune.device import Precision, autocast
from dinotune.files import write_json
from dinotune.model import Model
from dinotune.tasks.base import Answers, Metrics


@dataclass(frozen=True)
class Evaluation:
    """What one model is worth on one split."""

    metrics: Metrics
    answers: Answers
    records: Records
    """The pictures that were run, with their ground truth."""
    losses: dict[str, float]
    """Mean loss terms over the pictures, and their sum as `loss`."""
    unreadable: tuple[str, ...]
    """Pictures left out because they could not be read, with the reason."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for `metrics.json`."""
        losses = {name: value if math.isfinite(value) else None for name, value in self.losses.items()}
        return {**self.metrics.to_json(), "losses": losses, "unreadable": list(self.unreadable)}

    def write(self, folder: Path) -> None:
        """Write `metrics.json`, and answers and truth in the files of the task."""
        self.answers.write(self.records, folder)
        write_json(folder / "metrics.json", self.to_json())


def evaluation_folder(run: Path, data: config.Data, split: str, checkpoint: str) -> Path:
    """Where an evaluation's files lie in a run: `evaluations/DATA-SPLIT-CHECKPOINT`."""
    name = data.root.resolve().name if data.root else "data"
    return run / "evaluations" / f"{name}-{split}-{checkpoint}"


@torch.no_grad()
def evaluate_model(
    model: Model,
    records: Records,
    batches: Iterable[Batch],
    answers: Answers,
    *,
    precision: Precision,
    on_batch: Callable[[Batch], None] = lambda _: None,
) -> Evaluation:
    """Run a model in eval mode over a split, and measure its answers. Training mode is restored afterwards."""
    device = next(model.parameters()).device
    image_ids: list[int] = []
    unreadable: list[str] = []
    sums: dict[str, float] = {}
    was_training = model.training
    model.eval()
    for batch in batches:
        on_batch(batch)
        unreadable.extend(batch.corrupt)
        if len(batch) == 0:
            continue
        moved = batch.to(device)
        with autocast(device, precision), _own_draws(device, batch.index):
            losses, predictions = answers.run(model, moved)
        for name, value in losses.values().items():
            sums[name] = sums.get(name, 0.0) + value * len(batch)
        answers.add(predictions, batch)
        image_ids.extend(batch.image_ids)
    model.train(was_training)
    run = records.select(np.flatnonzero(np.isin(records.image_ids, image_ids)))
    means = {name: total / len(image_ids) for name, total in sums.items()}
    return Evaluation(
        metrics=answers.measure(run),
        answers=answers,
        records=run,
        losses={**means, "loss": sum(means.values()) if means else math.nan},
        unreadable=tuple(unreadable),
    )


@contextmanager
def _own_draws(device: torch.device, seed: int) -> Iterator[None]:
    """Losses that sample (anchors, proposals) draw the same whatever was drawn before, and change no draw after."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def explain(evaluation: Evaluation) -> str | None:
    """Where the best score is 0 and no note says why: the mistake that would explain it, in a sentence."""
    return evaluation.answers.explain(evaluation.records, evaluation.metrics)
