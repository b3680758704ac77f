"""Whether a run reached what `training.must_reach` asks for, and which parameters no gradient ever reached."""

import json
from collections.abc import Sequence
from pathlib import Path

from dinotune import config
from dinotune.errors import DinotuneError

MOST_NAMED = 8

GRADIENTS_ARE_FINE = (
    "a gradient reached every learning parameter, so look at the pictures (dinotune evaluate RUN --pictures 8 draws "
    "them), at training.learning_rate and at training.epochs"
)


class GoalMissedError(DinotuneError):
    """Training ended, everything is on disk, and the score is too low."""


def describe_without_gradient(names: Sequence[str]) -> str:
    """Warning about parameters that are meant to learn and cannot."""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    count = "1 learning parameter" if len(names) == 1 else f"{len(names)} learning parameters"
    return f"no gradient has reached {count} so far: {', '.join(names[:MOST_NAMED])}{more}"


def judge(folder: Path, goal: config.Goal, usual: str, without_gradient: Sequence[str]) -> str:
    """The line that says PASS, from the best evaluation in the run's `metrics.json`.

    Where the goal names no score, the `usual` one counts.

    Raises:
        GoalMissedError: the score is lower, or nothing was measured; the message says FAIL.
    """
    file = folder / "metrics.json"
    metric = goal.metric or usual
    reached = json.loads(file.read_text(encoding="utf-8"))[metric] if file.is_file() else None
    if reached is not None and reached >= goal.value:
        return f"PASS: {metric} {reached:.4f} >= {goal.value}"
    found = "was never measured" if reached is None else f"{reached:.4f} < {goal.value}"
    reason = describe_without_gradient(without_gradient) if without_gradient else GRADIENTS_ARE_FINE
    raise GoalMissedError(f"FAIL: {metric} {found}; {reason}")
