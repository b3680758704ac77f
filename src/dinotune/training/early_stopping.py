"""When to stop early, decided by the logged epochs alone, so that a resumed run decides the same."""

from collections.abc import Mapping, Sequence
from typing import Any

from dinotune import config


def evaluations_without_improvement(
    epochs: Sequence[Mapping[str, Any]], settings: config.EarlyStopping, score: str
) -> int:
    """Evaluations in a row, up to the last one, that did not improve on the best before them.

    Args:
        epochs: Lines of the epochs in `metrics.jsonl`; those without an evaluation have no `val_loss`.
        settings: What counts as an improvement; an evaluation without the metric is none.
        score: Name of the task's score.
    """
    key, sign = ("val_loss", -1) if settings.metric == "loss" else (score, 1)
    best, waited = None, 0
    for line in epochs:
        if "val_loss" not in line:
            continue
        value = line.get(key)
        if value is not None and (best is None or sign * (value - best) > settings.min_improvement):
            best, waited = value, 0
        else:
            waited += 1
    return waited


def why_stop(epochs: Sequence[Mapping[str, Any]], settings: config.EarlyStopping | None, score: str) -> str | None:
    """Why training should stop here, and what to change to go on; none where it should not."""
    if settings is None:
        return None
    waited = evaluations_without_improvement(epochs, settings, score)
    if waited < settings.patience:
        return None
    better = "lower validation loss" if settings.metric == "loss" else f"higher {score}"
    step = f" by more than {settings.min_improvement}" if settings.min_improvement else ""
    return (
        f"stopped early after epoch {epochs[-1]['epoch'] + 1}: no {better}{step} in {waited} evaluations; to go on, "
        f"resume with training.early_stopping.patience={2 * waited} or training.early_stopping=none"
    )
