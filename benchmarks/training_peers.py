"""Pictures per second while a detector on a frozen backbone learns: ours, also on kept features, beside RF-DETR and LightlyTrain.

Run `uv run python -m benchmarks.training_peers [RFDETR_PYTHON] [LIGHTLY_PYTHON]`, the pythons of environments with `rfdetr` and
`lightly-train` (for example `uv venv /tmp/rf && VIRTUAL_ENV=/tmp/rf uv pip install rfdetr`). The result goes to
`benchmarks/results/`.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torchvision.ops import box_convert

from benchmarks.peers.steps import CLASSES, OBJECTS, SIDE, random_batch
from benchmarks.side_by_side import Peer, PeerError, Timer, in_turn, machine, publish, ratio, table, timed
from dinotune import config
from dinotune.build import build_model
from dinotune.data.records import LabelSet
from dinotune.training.optimizer import build_optimizer
from dinotune.types import Targets

BATCH, ROUNDS = 4, 5
NANO = config.DeformableDetr(
    stride_factors=(1,), encoder_layers=0, decoder_layers=2, sampling_points=2, denoising_queries=0
)
"""As RF-DETR Nano: one level, two decoder layers, 300 queries of one group."""
LTDETR = config.DeformableDetr(
    stride_factors=(0.5, 1, 2), channels=224, feedforward=1792, encoder_layers=1, decoder_layers=4
)
"""As LT-DETR with ViT-S: three levels, an encoder layer, four decoder layers of width 224, 300 queries, 100 for denoising."""

KEPT = ", kept features"
"""Ends the names of our rows that learn from them."""


@dataclass(frozen=True)
class Row:
    """A way to train, and the row that it is compared with."""

    name: str
    start: Callable[[], Timer]
    beside: str = ""


def learning(head: config.DeformableDetr, *, kept: bool = False) -> Timer:
    """A training step of ours on a frozen random DINOv3 of the size of ViT-S, the backbone's pass included unless features are kept."""
    experiment = config.Experiment.model_validate(
        {
            "backbone": {"id": "tiny-dinov3", "blocks": "quarters", "tiny": {"width": 384, "depth": 12}},
            "head": head.model_dump(),
            "data": "unread",
            "training": {"learning_rate": 1e-4, "clip": 0.1},
        }
    )
    model = build_model(experiment, LabelSet(tuple(map(str, range(CLASSES))), tuple(range(CLASSES))))[0].train()
    optimizer = build_optimizer(model, experiment.training)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    images, drawn = random_batch(BATCH)
    boxes = tuple(box_convert(each["boxes"], "cxcywh", "xyxy") * SIDE for each in drawn)
    targets = Targets(boxes, tuple(each["labels"] for each in drawn))
    with torch.no_grad():
        inputs = model.backbone.frozen_part(images) if kept else images

    def step() -> None:
        optimizer.zero_grad()
        torch.autograd.backward(model.loss(inputs, targets).total)
        torch.nn.utils.clip_grad_norm_(parameters, experiment.training.clip)
        optimizer.step()

    return timed(step)


def rows(rfdetr: str | None, lightly: str | None) -> list[Row]:
    """Everything that is measured; another way to train is another row here."""
    nano, ltdetr = "dinotune, in the shape of RF-DETR Nano", "dinotune, in the shape of LT-DETR"
    return [
        Row(nano, lambda: learning(NANO)),
        Row(nano + KEPT, lambda: learning(NANO, kept=True)),
        Row("RF-DETR Nano, 1 group of queries", lambda: Peer(rfdetr, "rfdetr_train.py", BATCH, 1), nano),
        Row("RF-DETR Nano, 13 groups, its default", lambda: Peer(rfdetr, "rfdetr_train.py", BATCH, 13), nano),
        Row(ltdetr, lambda: learning(LTDETR)),
        Row(ltdetr + KEPT, lambda: learning(LTDETR, kept=True)),
        Row("LightlyTrain, LT-DETR", lambda: Peer(lightly, "ltdetr_train.py", BATCH), ltdetr),
    ]


def main(rfdetr: str | None = None, lightly: str | None = None) -> None:
    """Start all, let them learn in turn, write the table."""
    torch.set_num_threads(1)
    listed, timers, missing = rows(rfdetr, lightly), dict[str, Timer](), dict[str, str]()
    for row in listed:
        try:
            timers[row.name] = row.start()
        except PeerError as error:
            missing[row.name] = f"not measured: {error}"
    times = in_turn(timers, ROUNDS)
    peers = [timer for timer in timers.values() if isinstance(timer, Peer)]
    versions = "; ".join(sorted({peer.versions for peer in peers})) or "no peers"
    for peer in peers:
        peer.close()
    compared = [row for row in listed if row.beside]
    found = {
        row.name: [f"{ratio(times, row.name, row.beside + way):.2f}" for way in ("", KEPT)]
        for row in compared
        if row.name in times
    }
    publish(
        "training_peers",
        "# Training a detector on a frozen backbone, beside other libraries",
        f"{machine('torch')}; in environments of their own: {versions}. One thread, fp32, random weights, a frozen ViT-S/16, batches of "
        f"{BATCH} random pictures of {SIDE} px with {OBJECTS} objects of {CLASSES} classes. A step is the backbone's pass, the loss, "
        "its gradients (clipped) and AdamW, without reading pictures, averaging weights or logging. The ratio is dinotune's pictures "
        f"per second of processor time to the other's, in turn, median of {ROUNDS} rounds: above 1 dinotune is faster. With kept features "
        "the backbone's pass is left out, as from the epoch on in which all views are kept.",
        table(
            ["trained", "compared with", "times that dinotune is faster", "on kept features"],
            [[row.name, row.beside, *(found.get(row.name) or [missing[row.name], ""])] for row in compared],
        ),
        arguments="RFDETR_PYTHON LIGHTLY_PYTHON",
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
