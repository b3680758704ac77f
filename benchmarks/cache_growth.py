"""How time, disk and memory of a feature cache grow with the number of pictures.

Run `uv run python -m benchmarks.cache_growth`; the result goes to `benchmarks/results/`.
"""

import tempfile
import time
from dataclasses import astuple, dataclass
from pathlib import Path

import torch

from benchmarks.side_by_side import Silent, machine, publish, table
from dinotune.config.loading import load_experiment
from dinotune.data.shapes import draw_shapes
from dinotune.feature_cache.caches import fill_store
from dinotune.feature_cache.run import CachedRun
from dinotune.training.caching import as_cached
from dinotune.training.memory import peak_bytes, reset_peak
from dinotune.training.preparation import prepare

SMALLEST, FACTORS, SIDE = 100, (1, 4, 16), 128
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Cost:
    """Seconds to fill a store and to open it again, bytes on disk, peak of memory while filling."""

    filling: float
    opening: float
    disk: int
    memory: int


def run_of(pictures: int, folder: Path) -> CachedRun:
    """A small random ViT on drawn pictures, seen in two views."""
    data = draw_shapes(folder / f"{pictures}", train=pictures, val=1, test=1, sizes_hw=((SIDE, SIDE),))
    words = [
        f"data.root={data}",
        "backbone=tiny-dinov3",
        "backbone.tiny={width: 128, depth: 2, patch_size: 8}",
        f"data.size={SIDE}",
        "data.augmentation.views=2",
        "data.augmentation.scale_jitter=[1, 1]",
        "data.workers=0",
        f"feature_cache={{mode: on, folder: {folder / 'cache'}}}",
    ]
    return as_cached(prepare(load_experiment("faster_rcnn", (), words, {}).experiment, check=False))


def cost(run: CachedRun) -> Cost:
    """Fill a store, then open it as a second training would."""
    reset_peak(CPU)
    began = time.perf_counter()
    store = fill_store(run, Silent(), training=True)
    filled = time.perf_counter()
    peak = peak_bytes(CPU)
    fill_store(run, Silent(), training=True)
    return Cost(filled - began, time.perf_counter() - filled, store.bytes, peak)


def main() -> None:
    """Measure each size, as multiples of the smallest."""
    with tempfile.TemporaryDirectory() as name:
        costs = [cost(run_of(SMALLEST * factor, Path(name))) for factor in FACTORS]
    rows = [
        [
            str(SMALLEST * factor),
            *(f"{own / first:.2f}" for own, first in zip(astuple(each), astuple(costs[0]), strict=True)),
        ]
        for factor, each in zip(FACTORS, costs, strict=True)
    ]
    publish(
        "cache_growth",
        "# How a feature cache grows",
        f"{machine('torch')}. Drawn pictures of {SIDE} px in 2 views, a random ViT of 2 blocks of width 128 with patch 8; everything as a "
        "multiple of the first row. Opening checks every picture's name, size and time, and computes two views.",
        table(["pictures", "filling", "opening", "disk", "peak of memory while filling"], rows),
    )


if __name__ == "__main__":
    main()
