"""Deformable attention beside transformers': alternating in one run, on the CPU.

Run `uv run python benchmarks/deformable_attention.py`; the result goes to `benchmarks/results/`.
"""

import datetime
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from torch import Tensor
from transformers.models.deformable_detr.modeling_deformable_detr import MultiScaleDeformableAttention

from dinotune.heads.deformable_attention import deformable_attention

HEADS, WIDTH, POINTS = 8, 32, 4
ROUNDS = 15
THREADS = (1, 2)


@dataclass(frozen=True)
class Case:
    """Queries that read four levels of strides 8 to 64."""

    name: str
    batch: int
    queries: int | None
    """None: every cell asks, as in an encoder."""
    picture: int
    """Side in pixels."""

    @property
    def level_shapes(self) -> list[tuple[int, int]]:
        """Height and width of each level in cells."""
        return [(self.picture // stride, self.picture // stride) for stride in (8, 16, 32, 64)]

    def inputs(self) -> tuple[Tensor, Tensor, Tensor]:
        """Random values, points around their queries, and weights that sum to one."""
        torch.manual_seed(0)
        grids = [torch.cartesian_prod(torch.arange(h) / h, torch.arange(w) / w) for h, w in self.level_shapes]
        cells = torch.cat(grids)
        centres = cells if self.queries is None else torch.rand(self.queries, 2)
        shape = (self.batch, len(centres), HEADS, len(grids), POINTS)
        locations = centres[:, None, None, None] + 0.05 * torch.randn(*shape, 2)
        weights = torch.rand(shape).flatten(3).softmax(-1).view(shape)
        return torch.randn(self.batch, len(cells), HEADS, WIDTH), locations, weights


CASES = (
    Case("decoder, 300 queries, 640 px", 2, 300, 640),
    Case("decoder, 900 queries, 640 px", 1, 900, 640),
    Case("encoder, 320 px", 2, None, 320),
    Case("encoder, 640 px", 1, None, 640),
)


def theirs(values: Tensor, level_shapes: list[tuple[int, int]], locations: Tensor, weights: Tensor) -> Tensor:
    """What transformers computes."""
    return MultiScaleDeformableAttention()(  # type: ignore[no-any-return]
        values, None, level_shapes, None, locations, weights, 64
    )


def seconds(attend: Callable[..., Tensor], case: Case, inputs: tuple[Tensor, ...], learn: bool) -> float:
    """Time of one forward pass, or of one and its backward pass."""
    values, locations, weights = (tensor.detach().requires_grad_(learn) for tensor in inputs)
    start = time.perf_counter()
    answers = attend(values, case.level_shapes, locations, weights)
    if learn:
        answers.square().sum().backward()
    return time.perf_counter() - start


def row(case: Case, threads: int, learn: bool) -> str:
    """One line of the table."""
    torch.set_num_threads(threads)
    inputs, forms = case.inputs(), (theirs, deformable_attention)
    times: list[list[float]] = [[], []]
    for _ in range(ROUNDS):
        for form, own in zip(forms, times, strict=True):
            own.append(seconds(form, case, inputs, learn))
    medians = [1e3 * statistics.median(own[1:]) for own in times]
    # Other work on the machine only ever adds time, most of all where two threads wait for each other.
    fastest = min(times[0][1:]) / min(times[1][1:])
    ratio = medians[0] / medians[1]
    passes = "forward and backward" if learn else "forward"
    return f"| {case.name} | {passes} | {threads} | {medians[0]:.1f} | {medians[1]:.1f} | {ratio:.2f} | {fastest:.2f} |"


def main() -> None:
    """Measure all cases, print the table and write it."""
    today = datetime.date.today().isoformat()
    lines = [
        "# Deformable attention on a CPU",
        "",
        f"{today}, {platform.machine()} with {os.cpu_count()} cores, torch {torch.__version__}, transformers"
        f" {transformers.__version__}; medians of {ROUNDS - 1} alternating rounds in milliseconds,"
        f" {HEADS} heads of {WIDTH} channels, {POINTS} points on each of 4 levels.",
        "",
        "| case | passes | threads | transformers | dinotune | times faster | of the fastest rounds |",
        "|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines[-2:]))
    for case in CASES:
        for threads in THREADS:
            for learn in (False, True):
                lines.append(row(case, threads, learn))
                print(lines[-1], flush=True)
    path = Path(__file__).parent / "results" / f"{today}-deformable_attention.md"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"written to {path}")


if __name__ == "__main__":
    main()
