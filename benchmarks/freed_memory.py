"""Epochs on the CPU with and without keeping the memory of freed tensors: time and peak memory.

Run `DINOTUNE_TEST_DATA=FOLDER uv run python -m benchmarks.freed_memory`, where the C library is glibc; FOLDER holds `bccd`,
`nuclei` and `clothing`. The result goes to `benchmarks/results/`.
"""

import statistics
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.cached_training import ROWS, SIDE, Epochs, Row, live, prepared
from benchmarks.side_by_side import Silent, machine, publish, table
from dinotune.data.loader import end_workers
from dinotune.feature_cache.caches import FeatureCaches
from dinotune.heap import freed_memory_kept
from dinotune.training.caching import as_cached
from dinotune.training.memory import peak_bytes, reset_peak

ROUNDS = 3
CPU = torch.device("cpu")
FEW, MANY = 4, 16
OTHER_SIZES = ("data.augmentation.scale_jitter=[0.6, 1.4]", "data.augmentation.views=null")

Case = tuple[str, Row, tuple[str, ...]]


def of_batches(name: str, batch: int) -> Row:
    """A row with two batches of a size."""
    return replace(ROWS[name], batch=batch, pictures=2 * batch)


CASES: tuple[Case, ...] = (
    ("linear segmenter, frozen", of_batches("segmenter", FEW), ()),
    ("linear segmenter, frozen", of_batches("segmenter", MANY), ()),
    ("linear segmenter, all learning", of_batches("segmenter", FEW), ("backbone.trainable=all",)),
    ("linear segmenter, all learning", of_batches("segmenter", MANY), ("backbone.trainable=all",)),
    ("Deformable DETR of one and three layers, frozen, batches of five sizes", of_batches("small", FEW), OTHER_SIZES),
    ("linear classifier on kept features", of_batches("classifier", 2 * MANY), ()),
)


def on_kept_features(row: Row, cache: Path) -> Epochs:
    """Epochs of a row that read its cache from memory."""
    preparation = prepared(row, cache, "feature_cache.mode=on", "data.augmentation.views=2", "data.workers=0")
    caches = FeatureCaches(as_cached(preparation), Silent(), free_memory=1e12)
    return Epochs(preparation.model, preparation.experiment, caches.training_loader())


def measure(epochs: Epochs) -> dict[str, list[tuple[float, int]]]:
    """Seconds and peak memory in bytes of the same epochs in both ways, in turn, after one that warms up."""
    found: dict[str, list[tuple[float, int]]] = {"usual": [], "kept": []}
    for epoch in range(1 + ROUNDS):
        for name, own in found.items():
            epochs.epoch = epoch
            with freed_memory_kept(CPU) if name == "kept" else nullcontext():
                reset_peak(CPU)
                own.append((epochs(), peak_bytes(CPU)))
    return {name: own[1:] for name, own in found.items()}


def lines() -> Iterator[list[str]]:
    """A line of the table for each case."""
    for name, row, changes in CASES:
        with tempfile.TemporaryDirectory() as folder:
            is_cached = row.recipe == "linear_classifier"
            epochs = on_kept_features(row, Path(folder)) if is_cached else live(prepared(row, Path(folder), *changes))
            found = measure(epochs)
            end_workers(epochs.batches)
        pairs = list(zip(found["kept"], found["usual"], strict=True))
        print(name, row.batch, pairs, flush=True)
        yield [
            name,
            str(row.batch),
            f"{statistics.median(own[0] / other[0] for own, other in pairs):.2f}",
            f"{statistics.median(own[1] / other[1] for own, other in pairs):.2f}",
        ]


if __name__ == "__main__":
    publish(
        "freed_memory",
        "# Epochs that keep the memory of freed tensors",
        f"{machine('torch')}, all cores. A random ViT-S/16 (12 blocks, width 384), pictures of {SIDE} px. Time on the clock of whole "
        f"epochs of two batches, the same ones in both ways, in turn; medians of {ROUNDS} rounds, as ratios kept / usual.",
        table(["what learns", "batch", "time", "peak memory"], lines()),
    )
