"""What the checks share: fresh weights, what learned, and what two sets of detections differ in."""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from dinotune.types import Detections

Trial = TypeVar("Trial")


def require(condition: bool, message: str) -> None:
    """AssertionError with the message unless the condition holds."""
    if not condition:
        raise AssertionError(message)


def run_all(checks: Mapping[str, Callable[[Trial], None]], trial: Trial) -> None:
    """Run every check. AssertionError names all that failed, a line each."""
    failed = []
    for name, check in checks.items():
        try:
            check(trial)
        except AssertionError as error:
            failed.append(f"{name}: {error}")
    require(not failed, "\n".join(failed))


def by_name(*checks: Callable[[Trial], None]) -> Mapping[str, Callable[[Trial], None]]:
    """Checks by the name of their function."""
    return {check.__name__: check for check in checks}


def awake(module: nn.Module, seed: int = 0) -> None:
    """Fill learning parameters that begin as zeros with small random numbers: behind them no gradient flows."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad and not parameter.any():
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))


def named(names: Iterable[str]) -> str:
    """At most five names."""
    found = list(names)
    return ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")


def difference(first: Detections, second: Detections, pixels: float = 0.01, score: float = 1e-4) -> str:
    """What only one of two batches of detections holds, in words; empty where they agree.

    Order among equals does not count, nor do detections with the lowest score: which of them still get a slot depends
    on rounding.
    """
    if first.boxes.shape != second.boxes.shape:
        return f"shapes {tuple(first.boxes.shape)} and {tuple(second.boxes.shape)}"
    for image in range(len(first.boxes)):
        for here, there in ((first, second), (second, first)):
            lonely = _lonely(_rows(here, image), _rows(there, image), pixels, score)
            if len(lonely):
                return f"picture {image}: only one of them holds label, score, box {lonely[0].tolist()}"
    return ""


def _rows(detections: Detections, image: int) -> Tensor:
    """Label, score and box of the filled slots."""
    columns = (detections.labels[image][:, None], detections.scores[image][:, None], detections.boxes[image])
    return torch.cat(columns, dim=1)[detections.labels[image] >= 0]


def _lonely(rows: Tensor, others: Tensor, pixels: float, score: float) -> Tensor:
    limits = torch.tensor([0.5, score, *[pixels] * 4])
    partners = ((rows[:, None] - others[None]).abs() <= limits).all(dim=2).any(dim=1)
    lowest = min((part[:, 1].min().item() for part in (rows, others) if len(part)), default=0.0)
    return rows[~partners & (rows[:, 1] > lowest + score)]
