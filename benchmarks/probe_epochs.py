"""What an epoch of a linear classifier costs in `dinotune probe`, where pooled features lie in memory, beside one that reads pictures.

Run `DINOTUNE_TEST_DATA=FOLDER uv run python -m benchmarks.probe_epochs`; FOLDER holds `clothing`. The result goes to
`benchmarks/results/`.
"""

import copy
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.cached_training import ROWS, SIDE, live, prepared
from benchmarks.side_by_side import in_turn, machine, on_the_clock, publish, ratio, table
from dinotune import config
from dinotune.data.loader import end_workers, evaluation_loader
from dinotune.heads.linear_classifier import LinearClassifierHead
from dinotune.heap import freed_memory_kept
from dinotune.probing.features import PooledFeatures, compute_features
from dinotune.probing.linear import train_linear

EPOCHS, ROUNDS, FROZEN_ROUNDS = 200, 5, 3
ROW = replace(ROWS["classifier"], batch=32, pictures=128)


def bring(features: PooledFeatures) -> None:
    """Bring the batches of all epochs as `train_linear` does, and nothing else."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(features), generator=generator).split(ROW.batch):
            _ = features.pooled[rows], features.labels[rows]


def measured() -> list[str]:
    """The line of the table."""
    with tempfile.TemporaryDirectory() as folder:
        preparation = prepared(ROW, Path(folder))
        epochs = live(preparation)
        frozen = statistics.median([epochs() for _ in range(1 + FROZEN_ROUNDS)][1:])
        end_workers(epochs.batches)
    model, head = preparation.model, preparation.model.head
    assert isinstance(head, LinearClassifierHead)
    loader = evaluation_loader(
        preparation.train, preparation.experiment.data, batch_size=ROW.batch, multiple=model.size_multiple
    )
    found: list[PooledFeatures] = []
    filling = on_the_clock(lambda: found.append(compute_features(model, loader, "fp32")))()
    end_workers(loader)
    (features,) = found
    settings = config.Probe(epochs=EPOCHS, batch_size=ROW.batch, learning_rates=(1e-3,))
    ways = {
        "epochs": on_the_clock(lambda: train_linear([copy.deepcopy(head)], [features], settings, 0)),
        "bringing": on_the_clock(lambda: bring(features)),
    }
    times = in_turn(ways, ROUNDS)
    each = statistics.median(times["epochs"]) / EPOCHS
    kilobytes = (features.pooled.nbytes + features.cls.nbytes) / len(features) / 1000
    return [
        str(len(features)),
        f"{frozen / each:,.0f}",
        f"{1 / (1 - ratio(times, 'bringing', 'epochs')):.2f}",
        f"{filling / frozen:.2f}",
        f"{kilobytes:.1f}",
    ]


if __name__ == "__main__":
    with freed_memory_kept(torch.device("cpu")):  # as in a run
        line = measured()
    publish(
        "probe_epochs",
        "# Epochs of a linear classifier on pooled features",
        f"{machine('torch')}, all cores. A random ViT-S/16 (12 blocks, width 384), pictures of {SIDE} px, batches of {ROW.batch}, one "
        f"classifier on CLS and the patches' mean; time on the clock, medians, as ratios.",
        table(
            ["pictures", "frozen / kept", "kept / trained part alone", "filling, in frozen epochs", "kB per view"],
            [line],
        ),
    )
