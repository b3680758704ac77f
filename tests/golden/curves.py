"""Losses of the first steps of every head, trained on drawn shapes. `python -m tests.golden.curves` writes them anew."""

import json
import tempfile
from pathlib import Path

from dinotune import api, config
from dinotune.config.head import HEAD_TASKS
from dinotune.data.shapes import draw_shapes
from tests.class_folders import draw_class_folders
from tests.small_parts import HEADS

STORED = Path(__file__).with_suffix(".json")
DIGITS = 5


def experiment_of(head: str, data: Path) -> config.Experiment:
    """Two learning blocks and a small head for three epochs on the CPU; augmentation, mean of the weights and all."""
    return config.Experiment.model_validate(
        {
            "name": head,
            "device": "cpu",
            "backbone": {"id": "tiny-dinov3", "tiny": {"width": 32, "depth": 2}, "trainable": "all"},
            "adapter": {"kind": "lora", "rank": 2},
            "head": {"kind": head, **HEADS[head]},
            "data": {"root": str(data), "size": 64, "workers": 0},
            "training": {
                "epochs": 3,
                "batch_size": 4,
                "learning_rate": 5e-4,
                "warmup_steps": 2,
                "ema_decay": 0.9,
                "precision": "fp32",
                "log_every": 1,
                "validate_every": 3,
            },
        }
    )


def curve(experiment: config.Experiment, out: Path) -> list[float]:
    """Loss of every step, then that of the evaluation."""
    folder = api.train(experiment, out=out).folder
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    steps = [line["loss"] for line in lines if line["kind"] == "step"]
    evaluations = [line["val_loss"] for line in lines if "val_loss" in line]
    return [round(value, DIGITS) for value in (*steps, *evaluations)]


def write() -> None:
    """Train every head and store its curve."""
    with tempfile.TemporaryDirectory() as folder:
        data = draw_shapes(Path(folder) / "data", train=18, val=6, test=3, sizes_hw=((64, 64), (64, 96)))
        classes = draw_class_folders(Path(folder) / "classes", train=6, val=2)
        curves = {
            head: curve(
                experiment_of(head, classes if HEAD_TASKS[head] == "classification" else data), Path(folder) / head
            )
            for head in HEADS
        }
    STORED.write_text(json.dumps(curves, indent=1) + "\n")


if __name__ == "__main__":
    write()
