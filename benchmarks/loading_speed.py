"""Whether reading pictures keeps up with training: a core that reads, decodes, crops and resizes beside a core that learns.

Run `DINOTUNE_TEST_DATA=FOLDER uv run python -m benchmarks.loading_speed`, the folder of `bccd/` and `nuclei/`; the result
goes to `benchmarks/results/`.
"""

import itertools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.side_by_side import Times, in_turn, machine, publish, table, timed
from dinotune import config
from dinotune.build import build_model
from dinotune.data.batches import Batch
from dinotune.data.loader import training_loader
from dinotune.data.splits import read_records
from dinotune.training.optimizer import build_optimizer

BATCH, ROUNDS = 4, 5
SMALL = {"width": 384, "depth": 12}
"""ViT-S/16."""
TINY = {"width": 192, "depth": 4}
BOXES = {"kind": "deformable_detr", "encoder_layers": 3, "decoder_layers": 3, "feedforward": 1024, "queries": 200}


@dataclass(frozen=True)
class Case:
    """What is trained on which pictures; the backbone is frozen."""

    name: str
    data: str
    side: int
    backbone: dict[str, int]
    head: dict[str, Any]

    def experiment(self, folder: Path) -> config.Experiment:
        """Its settings, with the usual augmentation."""
        data = {"root": str(folder / self.data), "size": self.side, "workers": 0}
        return config.Experiment.model_validate(
            {
                "backbone": {"id": "tiny-dinov3", "tiny": self.backbone},
                "head": self.head,
                "data": data,
                "training": {"batch_size": BATCH},
            }
        )


CASES = (
    Case("deformable_detr on ViT-S", "bccd", 448, SMALL, BOXES),
    Case("linear_segmenter on ViT-S", "nuclei", 448, SMALL, {"kind": "linear_segmenter"}),
    Case("linear_segmenter on a ViT of 4 blocks of width 192", "nuclei", 256, TINY, {"kind": "linear_segmenter"}),
)


def measured(experiment: config.Experiment) -> Times:
    """Seconds of reading a batch, and of the step that learns from it."""
    records = read_records(experiment.data, "train", seed=0, needs=experiment.needs)
    model = build_model(experiment, records.labels)[0].train()
    optimizer = build_optimizer(model, experiment.training)
    loader = training_loader(
        records, experiment.data, batch_size=BATCH, multiple=model.size_multiple, seed=0, device_type="cpu"
    )
    batches = itertools.chain.from_iterable(itertools.repeat(loader))
    read: list[Batch] = []

    def load() -> None:
        read[:] = [next(batches)]

    def step() -> None:
        [batch] = read
        optimizer.zero_grad()
        torch.autograd.backward(model.loss(batch.images / 255, batch.targets).total)
        optimizer.step()

    return in_turn({"load": timed(load), "step": timed(step)}, ROUNDS)


def row(case: Case, folder: Path) -> list[str]:
    """One line of the table."""
    times = measured(case.experiment(folder))
    share = sum(times["load"]) / sum(times["step"])
    return [case.name, case.data, str(case.side), f"{share:.3f}", f"{1 / share:.0f}"]


def main() -> None:
    """Measure all cases and write the table."""
    torch.set_num_threads(1)
    folder = Path(os.environ["DINOTUNE_TEST_DATA"])
    publish(
        "loading_speed",
        "# Whether reading pictures keeps up with training",
        f"{machine('torch', 'torchvision', 'pillow')}. Processor time of reading, decoding, cropping and resizing a batch of {BATCH}, as a "
        f"share of that of the training step (frozen backbone, one thread) on the same batch; sums of {ROUNDS} "
        "batches. One loading process beside one that trains keeps up where the share is below 1; the last column is how many "
        "training cores one loading core feeds.",
        table(
            ["trained", "pictures", "side", "share of the step", "training cores fed"],
            [row(case, folder) for case in CASES],
        ),
    )


if __name__ == "__main__":
    main()
