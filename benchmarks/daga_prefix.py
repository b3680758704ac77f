"""What DAGA's guidance costs: the frozen pass, DAGA with the shared prefix, and DAGA in two whole passes.

Run `uv run python benchmarks/daga_prefix.py`; the result goes to `benchmarks/results/`.
"""

import datetime
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from dinotune import config
from dinotune.adapters.daga import DagaAdapter
from dinotune.backbones.base import Backbone
from dinotune.backbones.load import build_backbone

PLACES = ((11,), (8, 9, 10, 11), (1, 2, 10, 11))
SIDE, BATCH, ROUNDS = 320, 2, 12

Pass = Callable[[Tensor], object]


def vit_s(blocks: tuple[int, ...] = ()) -> Backbone:
    """A random DINOv3 of the size of ViT-S, with DAGA after some blocks."""
    settings = config.Backbone(id="tiny-dinov3", tiny=config.TinyShape(width=384, depth=12))
    backbone, _ = build_backbone(settings)
    if blocks:
        DagaAdapter(config.Daga(blocks=blocks)).attach(backbone)
    return backbone.eval()


def two_passes(adapted: Backbone, only_guidance: Backbone) -> Pass:
    """The same features with nothing shared: a whole pass for the guidance, then a whole adapted pass.

    `only_guidance` carries DAGA after its last block, so that its frozen part is the whole model.
    """

    def run(images: Tensor) -> object:
        guidance = only_guidance.frozen_part(images).guidance
        return adapted.trained_part(replace(adapted.frozen_part(images), guidance=guidance))

    return run


def without_guidance(backbone: Backbone) -> Backbone:
    """Let a backbone with DAGA wait for guidance from elsewhere."""
    assert backbone.after_blocks is not None
    backbone.after_blocks.needs_guidance = False
    return backbone


def measured(passes: list[Pass], images: Tensor) -> tuple[list[float], list[float]]:
    """Median milliseconds of processor time of each, run in turn, and the median share of each of the first's time."""
    times: list[list[float]] = [[] for _ in passes]
    for _ in range(ROUNDS):
        for run, own in zip(passes, times, strict=True):
            start = time.process_time()
            run(images)
            own.append(1e3 * (time.process_time() - start))
    times = [own[1:] for own in times]
    shares = [[one / first for one, first in zip(own, times[0], strict=True)] for own in times]
    return [statistics.median(own) for own in times], [statistics.median(own) for own in shares]


def main() -> None:
    """Print the table and write it with its date."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    images, frozen, whole = torch.rand(BATCH, 3, SIDE, SIDE), vit_s(), vit_s((11,))
    lines = []
    for blocks in PLACES:
        naive = two_passes(without_guidance(vit_s(blocks)), whole)
        with torch.no_grad():
            times, shares = measured([frozen, vit_s(blocks), naive], images)
        places = ", ".join(map(str, blocks))
        cells = [places, *(f"{time:.0f}" for time in times), *(f"{share:.2f}" for share in shares[1:])]
        lines.append(f"| {' | '.join(cells)} |")
    head = (
        "# What DAGA's guidance costs\n\n"
        f"{datetime.date.today()}, {platform.machine()} with {os.cpu_count()} cores, torch {torch.__version__}, one thread; "
        f"forward passes of a random DINOv3 of the size of ViT-S, {BATCH} pictures of {SIDE} px, DAGA v2; "
        f"medians of {ROUNDS - 1} alternating rounds in milliseconds of processor time, and of each round's share of its frozen pass.\n\n"
        "| after blocks | frozen | shared prefix | two passes | share, shared prefix | share, two passes |\n"
        "|---|---|---|---|---|---|\n"
    )
    text = head + "\n".join(lines) + "\n"
    print(text)
    folder = Path(__file__).parent / "results"
    (folder / f"{datetime.date.today()}-daga_prefix.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
