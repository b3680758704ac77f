"""What a detector on a frozen backbone reaches in equal time, on kept features and on pictures.

Run `DINOTUNE_TEST_DATA=FOLDER uv run python -m benchmarks.equal_time DATA RUN EPOCHS`: DATA is `bccd` or `nuclei`, RUN a run whose
backbone is taken and frozen (a `tiny-dinov3`), EPOCHS how long the detector trains on kept features. The other one gets the
same number of minutes, filling the cache included. Table and plot go to `benchmarks/results/`.
"""

import datetime
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.side_by_side import FOLDER, machine, publish, table
from dinotune import api, config
from dinotune.checkpoints import read_checkpoint
from dinotune.config.loading import load_experiment
from dinotune.data.problems import counted
from dinotune.files import find_checkpoint

VIEWS, EVALUATIONS = 8, 6
RECIPES = {"bccd": "bccd_faster_rcnn", "nuclei": "nuclei_faster_rcnn"}
ANCHORS = {"bccd": "[[20, 40, 64, 108]]", "nuclei": "[[9, 15, 24, 44]]"}
SMALL_HEAD = ("head.channels=64", "head.hidden=128", "head.rpn_proposals_train=100", "head.roi_batch=64")


@dataclass(frozen=True)
class Curve:
    """Evaluations of a run: minutes since it began, and AP."""

    name: str
    minutes: tuple[float, ...]
    ap: tuple[float, ...]
    epochs: int

    def best_until(self, minutes: float) -> float:
        """The best AP up to this moment; 0 before the first evaluation."""
        return max((ap for when, ap in zip(self.minutes, self.ap, strict=True) if when <= minutes), default=0.0)


def experiment(data: str, source: Path, *changes: str) -> config.Experiment:
    """A small Faster R-CNN on one map of the run's backbone, which stays as it is."""
    backbone = read_checkpoint(find_checkpoint(source))[1].experiment.backbone
    assert backbone.tiny is not None
    words = [
        f"data.root={os.environ['DINOTUNE_TEST_DATA']}/{data}",
        f"backbone={{id: {backbone.id}, tiny: {backbone.tiny.model_dump()}, trainable: none}}",
        f"training.initialize_from={source}",
        "head.stride_factors=[1]",
        f"head.anchor_sizes={ANCHORS[data]}",
        *SMALL_HEAD,
        "data.workers=0",
        *changes,
    ]
    return load_experiment(RECIPES[data], (), words, {}).experiment


def trained(name: str, wanted: config.Experiment, folder: Path) -> Curve:
    """Train; the time begins with the first thing that the run does."""
    began = time.time()
    run = api.train(wanted, out=folder / name).folder
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    epochs = [line for line in lines if line["kind"] == "epoch"]
    before = (time.time() - began) - sum(line["seconds"] for line in epochs)
    minutes, ap, passed = [], [], before
    for line in epochs:
        passed += line["seconds"]
        if line.get("AP") is not None:
            minutes.append(passed / 60)
            ap.append(line["AP"])
    return Curve(name, tuple(minutes), tuple(ap), len(epochs))


def draw(curves: list[Curve], path: Path) -> None:
    """AP over minutes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for curve in curves:
        axes.plot(curve.minutes, curve.ap, marker="o", label=curve.name)
    axes.set(xlabel="minutes, filling the cache included", ylabel="AP on the validation split", ylim=(0, None))
    axes.legend()
    figure.savefig(path, dpi=120)


def main(data: str, source: str, epochs: str) -> None:
    """Train both, compare, publish."""
    every = max(1, int(epochs) // EVALUATIONS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cache = f"feature_cache={{mode: on, folder: {folder / 'cache'}}}"
        views = f"data.augmentation.views={VIEWS}"
        length = (f"training.epochs={epochs}", f"training.validate_every={every}")
        kept = trained("kept features", experiment(data, Path(source), cache, views, *length), folder)
        minutes = f"training.minutes={kept.minutes[-1]:.2f}"
        live = trained("pictures", experiment(data, Path(source), minutes), folder)
    image = f"{datetime.date.today()}-equal_time_{data}.png"
    draw([kept, live], FOLDER / "results" / image)
    moments = [share * kept.minutes[-1] for share in (0.25, 0.5, 0.75, 1)]
    rows = [
        [curve.name, str(curve.epochs), *(f"{curve.best_until(moment * 1.02):.3f}" for moment in moments)]
        for curve in (kept, live)
    ]
    publish(
        "equal_time",
        f"# {data}: a detector on a frozen backbone, in equal time",
        f"{machine('torch')}, {counted(torch.get_num_threads(), 'thread')}. Faster R-CNN on one map of a frozen random ViT that was trained "
        f"on `nuclei` before (a class per pixel). Kept are {VIEWS} views of each picture; pictures are drawn anew each time. Best AP on the "
        "validation split so far, at shares of the time that both have. The learning rate of each falls to the end of its own epochs. The "
        "time of the first holds the filling of the cache.",
        table(["trained on", "epochs", "1/4 of the time", "1/2", "3/4", "all of it"], rows),
        f"![AP over minutes]({image})",
        arguments=f"{data} RUN {epochs}",
        about=data,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
