"""What an epoch costs with everything learning, with a frozen backbone, and on its kept features; what keeping them costs.

Run `DINOTUNE_TEST_DATA=FOLDER uv run python -m benchmarks.cached_training [ROW ...]`; FOLDER holds `bccd`, `nuclei` and `clothing`. The
result goes to `benchmarks/results/`.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.side_by_side import Silent, machine, publish, table
from dinotune import config
from dinotune.config.loading import load_experiment
from dinotune.data.batches import Batch
from dinotune.data.loader import end_workers, training_loader
from dinotune.data.photometric import training_inputs
from dinotune.feature_cache.caches import FeatureCaches
from dinotune.heap import freed_memory_kept
from dinotune.model import Model
from dinotune.training.caching import as_cached
from dinotune.training.optimizer import build_optimizer
from dinotune.training.preparation import Preparation, prepare

VIEWS, SIDE, ROUNDS = 8, 448, 3
SHORT_EPOCHS = 5
"""Epochs in a round of what takes less than a second."""
VIT_S = "{width: 384, depth: 12}"


@dataclass(frozen=True)
class Row:
    """A recipe on data, with changes."""

    name: str
    recipe: str
    data: str
    changes: tuple[str, ...] = ()
    adapter: str = "frozen"
    pictures: int = 32
    batch: int = 4


ROWS = {
    "segmenter": Row("linear segmenter, frozen", "linear_segmenter", "nuclei"),
    "classifier": Row("linear classifier, frozen", "linear_classifier", "clothing"),
    "lora": Row(
        "linear segmenter, LoRA on the last 2 blocks",
        "linear_segmenter",
        "nuclei",
        adapter="{kind: lora, blocks: 2}",
        pictures=16,
    ),
    "daga": Row(
        "linear segmenter, DAGA after the last block",
        "linear_segmenter",
        "nuclei",
        adapter="{kind: daga, blocks: last}",
    ),
    "small": Row("recipe cached_deformable_detr", "cached_deformable_detr", "bccd", pictures=16),
    "large": Row(
        "deformable_detr as it is by default, 6 + 6 layers from stride 8",
        "cached_deformable_detr",
        "bccd",
        (f"head={config.DeformableDetr().model_dump(mode='json')}",),
        pictures=4,
    ),
}


def prepared(row: Row, cache: Path, *changes: str) -> Preparation:
    """An experiment of the row on a random ViT-S, with as many views as the recipe has."""
    words = [
        f"data.root={os.environ['DINOTUNE_TEST_DATA']}/{row.data}",
        "backbone.id=tiny-dinov3",
        f"backbone.tiny={VIT_S}",
        f"data.size={SIDE}",
        "data.resize=square",
        "data.augmentation.scale_jitter=[1, 1]",
        f"data.augmentation.views={VIEWS}",
        f"data.train.limit={row.pictures}",
        "data.val.limit=1",
        f"training.batch_size={row.batch}",
        f"feature_cache={{mode: off, folder: {cache}}}",
        *row.changes,
        *(changes or [f"adapter={row.adapter}"]),
    ]
    return prepare(load_experiment(row.recipe, (), words, {}).experiment, check=False)


class Epochs:
    """Epochs of a model with its optimiser; all that a run does in its steps, without Lightning and files."""

    def __init__(self, model: Model, experiment: config.Experiment, batches: Any) -> None:
        self.model, self.experiment, self.batches = model.train(), experiment, batches
        self.optimizer = build_optimizer(model, experiment.training)
        self.learning = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        self.epoch = 0

    def __call__(self) -> float:
        """Seconds of an epoch."""
        began = time.perf_counter()
        for batch in self._batches():
            self._step(batch)
        self.epoch += 1
        return time.perf_counter() - began

    def _batches(self) -> Iterable[Batch]:
        if isinstance(self.batches, list):
            return self.batches
        self.batches.batch_sampler.set_epoch(self.epoch)
        return iter(self.batches)

    def _step(self, batch: Batch) -> None:
        inputs = training_inputs(batch, self.experiment.data.augmentation, 0)
        torch.autograd.backward(self.model.loss(inputs, batch.targets).total)
        torch.nn.utils.clip_grad_norm_(self.learning, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()


def live(preparation: Preparation) -> Epochs:
    """Epochs that read pictures."""
    experiment = preparation.experiment
    loader = training_loader(
        preparation.train,
        experiment.data,
        batch_size=experiment.training.pictures_per_step,
        multiple=preparation.model.size_multiple,
        seed=0,
        device_type="cpu",
    )
    return Epochs(preparation.model, experiment, loader)


@dataclass(frozen=True)
class Measured:
    """Seconds per epoch, median of the rounds; of the cache, to fill it and to open it."""

    learning: float
    frozen: float
    kept: float
    head: float
    filling: float
    megabytes: float

    @property
    def paid_after(self) -> float:
        """Epochs after which the cache has cost no more than it saved."""
        return self.filling / (self.frozen - self.kept)


def measure(row: Row, cache: Path) -> Measured:
    """All ways of a row in turn."""
    learning = live(prepared(row, cache, "backbone.trainable=all"))
    frozen = live(prepared(row, cache))
    preparation = prepared(row, cache, f"adapter={row.adapter}", "feature_cache.mode=on", "data.workers=0")
    began = time.perf_counter()
    caches = FeatureCaches(as_cached(preparation), Silent(), free_memory=1e12)
    filling = time.perf_counter() - began
    kept = Epochs(preparation.model, preparation.experiment, caches.training_loader())
    ready = list(caches.training_loader())
    head = Epochs(preparation.model, preparation.experiment, ready)
    ways = {"learning": learning, "frozen": frozen, "kept": kept, "head": head}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(1 + ROUNDS):
        for name, epoch in ways.items():
            times[name].append(_mean_of_short_ones(epoch))
    for way in (learning, frozen):
        end_workers(way.batches)
    medians = {name: statistics.median(own[1:]) for name, own in times.items()}
    size = sum(path.stat().st_size for path in cache.rglob("*.safetensors")) / 1e6
    return Measured(**medians, filling=filling, megabytes=size)


def _mean_of_short_ones(epoch: Epochs) -> float:
    first = epoch()
    return first if first > 1 else statistics.fmean([first, *(epoch() for _ in range(SHORT_EPOCHS - 1))])


def lines(rows: Iterable[Row]) -> Iterator[list[str]]:
    """A line of the table for each row."""
    for row in rows:
        with tempfile.TemporaryDirectory() as folder, freed_memory_kept(torch.device("cpu")):  # as in a run
            found = measure(row, Path(folder))
        ratios = (
            found.learning / found.frozen,
            found.frozen / found.kept,
            found.learning / found.kept,
            found.kept / found.head,
        )
        yield [
            row.name,
            str(row.pictures),
            *(f"{ratio:.2f}" for ratio in ratios),
            f"{found.filling / found.frozen:.1f}",
            f"{found.paid_after:.1f}",
            f"{found.megabytes / (VIEWS * row.pictures):.2f}",
        ]
        print(row.name, found, flush=True)


def main(*names: str) -> None:
    """Measure the rows, all unless some are named, and write the table."""
    header = [
        "what learns",
        "pictures",
        "all learning / frozen",
        "frozen / kept",
        "all learning / kept",
        "kept / trained part alone",
        "filling, in frozen epochs",
        "paid after epochs",
        "MB per view",
    ]
    publish(
        "cached_training",
        "# Epochs on kept features",
        f"{machine('torch')}, all cores. A random ViT-S/16 (12 blocks, width 384), pictures of {SIDE} px in batches of "
        f"4, {VIEWS} views kept in bfloat16 and held in memory; wall time of whole epochs with the loader, gradients, clipping and AdamW, in turn, "
        f"medians of {ROUNDS} rounds, as ratios. The trained part alone takes batches that lie ready.",
        table(header, lines(ROWS[name] for name in names or ROWS)),
        arguments=" ".join(names),
        about="_".join(names),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
