"""Whether predicting on picture files keeps the network busy, one by one and in batches.

Run `DINOTUNE_TEST_DATA=FOLDER uv run python -m benchmarks.prediction_speed`, the folder of `bccd/`; the result goes to
`benchmarks/results/`.
"""

import os
import tempfile
from pathlib import Path

import torch

from benchmarks.side_by_side import in_turn, machine, on_the_clock, publish, ratio, table
from dinotune import api
from dinotune.config.loading import load_experiment
from dinotune.predictors.load import load_predictor

PICTURES, SIDE, BATCHES, ROUNDS = 16, 448, (1, 8), 3


def trained(data: Path, folder: Path) -> Path:
    """A run of one step: how well it detects has no part in its speed."""
    words = [
        f"data.root={data}",
        "backbone.id=tiny-dinov3",
        "backbone.tiny={width: 384, depth: 12}",
        f"data={{size: {SIDE}, resize: square, train: {{limit: 2}}, val: {{limit: 1}}, workers: 0}}",
        "training={epochs: 1, batch_size: 2, warmup_steps: 0}",
    ]
    return api.train(load_experiment("cached_deformable_detr", (), words, {}).experiment, out=folder / "run").folder


def rows(data: Path, folder: Path) -> list[list[str]]:
    """A line for each size of batches."""
    predictor = load_predictor(trained(data, folder), "cpu")
    paths = sorted((data / "JPEGImages").glob("*.jpg"))[:PICTURES]
    lines = []
    for batch in BATCHES:
        ready = torch.rand(batch, 3, SIDE, SIDE)

        def network(ready: torch.Tensor = ready) -> None:
            for _ in range(0, PICTURES, len(ready)):
                predictor.forward(ready)

        def files(batch: int = batch) -> None:
            predictor.predict(paths, batch_size=batch)

        times = in_turn({"network": on_the_clock(network), "files": on_the_clock(files)}, ROUNDS)
        lines.append([str(batch), f"{ratio(times, 'files', 'network'):.2f}"])
    return lines


def main() -> None:
    """Measure and write the table."""
    with tempfile.TemporaryDirectory() as folder:
        lines = rows(Path(os.environ["DINOTUNE_TEST_DATA"]) / "bccd", Path(folder))
    publish(
        "prediction_speed",
        "# Predicting on picture files",
        f"{machine('torch', 'pillow')}, all cores. `Predictor.predict` on {PICTURES} files of `bccd`, a small Deformable DETR on ViT-S with "
        f"random weights, {SIDE} px: reading, decoding, resizing, the network, boxes in each picture's pixels. Time on the clock as a share of "
        f"that of the network alone on as many ready pictures in the same batches, in turn, median of {ROUNDS} rounds.",
        table(["batch", "files / network alone"], lines),
    )


if __name__ == "__main__":
    main()
