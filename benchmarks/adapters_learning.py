"""Whether adapters on a frozen backbone help a detection head to learn: the head alone beside the same with each.

Run `uv run python benchmarks/adapters_learning.py DATA HEAD`, a folder of annotated pictures; it writes `benchmarks/results/`.
"""

import datetime
import statistics
import sys
from pathlib import Path
from typing import Any

import torch

from dinotune import config
from dinotune.build import build_model
from dinotune.data.loader import evaluation_loader
from dinotune.data.splits import read_records
from dinotune.training.optimizer import build_optimizer

STEPS, LAST, PICTURES, SIDE, SEEDS = 200, 20, 8, 128, (0, 1, 2)
RATE, CLIP = 3e-3, 1.0
QUERIES = {
    "channels": 32,
    "attention_heads": 4,
    "feedforward": 64,
    "decoder_layers": 1,
    "queries": 30,
    "dropout": 0,
}
HEADS: dict[str, dict[str, Any]] = {
    "detr": {"kind": "detr", "encoder_layers": 0, **QUERIES},
    "faster_rcnn": {
        "kind": "faster_rcnn",
        "channels": 16,
        "hidden": 32,
        "stride_factors": [0.5, 1],
        "rpn_candidates_train": 50,
        "rpn_proposals_train": 30,
        "roi_batch": 32,
        "rpn_batch": 64,
    },
}
SAME = {"learning_rate_factor": 1, "weight_decay_factor": 1}
ADAPTERS: dict[str, dict[str, Any]] = {
    "head alone": {"kind": "frozen"},
    "lora": {"kind": "lora", **SAME},
    "lora, a third of the rate": {"kind": "lora", "learning_rate_factor": 1 / 3},
    "dora": {"kind": "lora", "dora": True, **SAME},
    "norm_bias": {"kind": "norm_bias", **SAME},
    "daga v1": {"kind": "daga", "variant": "v1", **SAME},
    "daga v2": {"kind": "daga", **SAME},
    "bottleneck": {"kind": "bottleneck", **SAME},
}


def experiment_of(head: str, adapter: str, data: str, seed: int) -> config.Experiment:
    """A frozen random DINOv3 of four blocks of width 64 with a small head, on eight pictures."""
    return config.Experiment.model_validate(
        {
            "seed": seed,
            "backbone": {"id": "tiny-dinov3", "tiny": {"width": 64, "depth": 4, "patch_size": 16}},
            "head": HEADS[head],
            "adapter": ADAPTERS[adapter],
            "data": {"root": data, "size": SIDE, "workers": 0, "train": {"limit": PICTURES}},
            "training": {"learning_rate": RATE, "weight_decay": 0},
        }
    )


def loss_after_training(experiment: config.Experiment) -> tuple[float, int]:
    """Mean training loss of the last steps, each on all pictures at once, and how many parameters the adapter has."""
    records = read_records(experiment.data, "train", seed=0)
    model, _ = build_model(experiment, records.labels)
    model.train()
    batch = next(iter(evaluation_loader(records, experiment.data, batch_size=PICTURES, multiple=model.size_multiple)))
    images, optimizer = batch.images / 255, build_optimizer(model, experiment.training)
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    torch.manual_seed(experiment.seed)
    losses = []
    for _ in range(STEPS):
        loss = model.loss(images, batch.targets).total
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(learning, CLIP)
        optimizer.step()
        losses.append(loss.item())
    return statistics.mean(losses[-LAST:]), sum(p.numel() for _, p in model.backbone.adapter_parameters())


def row(head: str, adapter: str, data: str) -> str:
    """A line of the table: the loss of every seed and their mean."""
    found = [loss_after_training(experiment_of(head, adapter, data, seed)) for seed in SEEDS]
    losses = [loss for loss, _ in found]
    cells = [adapter, f"{found[0][1]:,}", *(f"{loss:.3f}" for loss in losses), f"{statistics.mean(losses):.3f}"]
    return f"| {' | '.join(cells)} |"


def main(data: str, head: str) -> None:
    """Print the table and write it with its date."""
    torch.set_num_threads(1)
    seeds = " | ".join(f"seed {seed}" for seed in SEEDS)
    lines = [
        f"# What adapters add to a head on a frozen random backbone: {head}",
        "",
        f"{datetime.date.today()}, torch {torch.__version__}, CPU. A frozen random DINOv3 of four blocks of width 64 with a "
        f"small {head}, {PICTURES} pictures of {Path(data).name} at {SIDE} px, all of them in each of {STEPS} steps of AdamW; "
        f"learning rate {RATE} for head and adapter alike, gradients clipped at {CLIP:g}. "
        f"Mean training loss of the last {LAST} steps.",
        "",
        f"| adapter | its parameters | {seeds} | mean |",
        f"|---|---|{'---|' * len(SEEDS)}---|",
    ]
    print("\n".join(lines))
    for adapter in ADAPTERS:
        lines.append(row(head, adapter, data))
        print(lines[-1], flush=True)
    folder = Path(__file__).parent / "results"
    (folder / f"{datetime.date.today()}-adapters_learning_{head}.md").write_text(
        "\n".join(lines) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
