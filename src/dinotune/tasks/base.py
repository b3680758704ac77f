"""What differs from task to task: how answers are gathered, measured, written and drawn."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from dinotune.data.batches import Batch
from dinotune.data.records import ImageRecord, Records
from dinotune.model import Model
from dinotune.types import Losses, Predictions


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """What answers are worth on one split. None stands where nothing can be measured."""

    numbers: dict[str, float | None]
    """The scores of the whole split by name, e.g. `AP`, `AP50`."""
    per_class: dict[str, dict[str, float | int | None]]
    """Class name -> its scores and counts."""
    images: int
    notes: tuple[str, ...] = ()
    """Warnings about the measurement itself, a sentence each."""

    def __getitem__(self, name: str) -> float | None:
        """A number by its name: `metrics["AP50"]`; KeyError for an unknown one."""
        return self.numbers[name]

    @property
    def thresholds(self) -> dict[str, float | None]:
        """Class name -> lowest score that should count; empty for tasks without such a choice."""
        return {}

    def to_json(self) -> dict[str, Any]:
        """Plain values for `metrics.json`."""
        return {**self.numbers, "per_class": self.per_class, "images": self.images, "notes": list(self.notes)}


class Answers(ABC):
    """What a model says about the pictures of a split, gathered batch by batch, in each picture's own pixels."""

    def run(self, model: Model, batch: Batch) -> tuple[Losses, Predictions]:
        """What a model in eval mode says of a batch on its device, and its losses."""
        return model.head.evaluate(model(batch.inputs), batch.targets)

    @abstractmethod
    def add(self, predictions: Predictions, batch: Batch) -> None:
        """Take in the predictions of a batch."""

    @abstractmethod
    def measure(self, records: Records) -> Metrics:
        """What the answers are worth on exactly these pictures: those that were run."""

    @abstractmethod
    def write(self, records: Records, folder: Path) -> None:
        """Write the answers and the truth in the task's usual format."""

    @abstractmethod
    def draw(self, record: ImageRecord, metrics: Metrics) -> Image.Image:
        """A picture with the truth, beside it the same with the answer."""

    @abstractmethod
    def explain(self, records: Records, metrics: Metrics) -> str | None:
        """Where the best score is 0: the mistake that would explain it, in a sentence; otherwise none."""
