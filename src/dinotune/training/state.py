"""What a run must remember beside weights and optimiser to go on exactly where it stopped."""

from dataclasses import asdict, dataclass, field
from typing import Any, Self


@dataclass
class RunState:
    """Position, best scores and running sums; stored as JSON in `last.ckpt`."""

    fingerprint: str
    """Of the training records; another data set is refused on resume."""
    epoch: int = 0
    """0-based epoch of the last finished step."""
    next_batch: int = 0
    """Batch of that epoch that comes next."""
    evaluation_pending: bool = False
    """All batches of the epoch are done, its evaluation is not."""
    metrics_lines: int = 0
    """Lines of `metrics.jsonl` that belong to the finished work."""
    best: dict[str, float] = field(default_factory=dict)
    """Best value so far of the task's score (highest) and of `loss` (lowest), by name."""
    loss_at_best: float = 0.0
    """Validation loss of the evaluation with the best score."""
    skipped_steps: int = 0
    corrupt: list[str] = field(default_factory=list)
    """What was said about each picture that could not be read, once per picture."""
    without_gradient: list[str] = field(default_factory=list)
    """Learning parameters that no gradient has reached yet."""
    epoch_sums: dict[str, float] = field(default_factory=dict)
    """Sums of the loss terms over the pictures of the epoch so far."""
    epoch_pictures: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(**values)

    def add_losses(self, losses: dict[str, float], pictures: int) -> None:
        """Add one step's mean losses to the epoch; a skipped step has none."""
        if not losses:
            return
        for name, value in losses.items():
            self.epoch_sums[name] = self.epoch_sums.get(name, 0.0) + value * pictures
        self.epoch_pictures += pictures

    def mean_losses(self) -> dict[str, float]:
        """Mean loss terms per picture over the epoch so far."""
        return {name: total / max(1, self.epoch_pictures) for name, total in self.epoch_sums.items()}

    def begin_epoch(self, epoch: int) -> None:
        """Forget the sums of the epoch before."""
        self.epoch, self.next_batch, self.evaluation_pending = epoch, 0, False
        self.epoch_sums, self.epoch_pictures = {}, 0
