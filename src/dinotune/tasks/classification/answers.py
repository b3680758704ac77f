"""Class scores of a split: accuracies, a table of answers, which classes are mistaken for which."""

from pathlib import Path

import numpy as np
from jaxtyping import Int64
from PIL import Image

from dinotune.data.batches import Batch
from dinotune.data.images import read_image
from dinotune.data.records import ImageRecord, LabelSet, Records
from dinotune.files import write_text
from dinotune.tasks.base import Answers, Metrics
from dinotune.tasks.classification.best_classes import BestClasses
from dinotune.tasks.classification.drawing import draw_classes
from dinotune.tasks.classification.metrics import measure
from dinotune.tasks.classification.tables import answers_table
from dinotune.tasks.confusion import confusion, confusion_table
from dinotune.types import ClassScores, Predictions


class ClassificationAnswers(Answers):
    """The best classes of every picture."""

    def __init__(self, labels: LabelSet) -> None:
        self.labels = labels
        self._parts: list[BestClasses] = []

    @property
    def best(self) -> BestClasses:
        """The rows of all pictures so far."""
        return BestClasses.concatenate(self._parts, len(self.labels))

    def add(self, predictions: Predictions, batch: Batch) -> None:
        """Take in the best classes of a batch."""
        assert isinstance(predictions, ClassScores), "classification heads answer with class scores"
        self._parts.append(BestClasses.from_scores(predictions, batch.image_ids))

    def measure(self, records: Records) -> Metrics:
        """Top-1, top-5 and per-class accuracy."""
        return measure(_truth(records), self.best.of(records.image_ids).labels, self.labels)

    def write(self, records: Records, folder: Path) -> None:
        """Write `predictions.csv`, a line per picture, and `confusion.csv`: a row per class, a column per answer."""
        best, truth = self.best.of(records.image_ids), _truth(records)
        pictures = [(str(path), self._ranked(best, row)) for row, path in enumerate(records.paths)]
        classes = [self.labels.names[label] for label in truth.tolist()]
        write_text(folder / "predictions.csv", answers_table(pictures, classes))
        counts = confusion(truth, best.labels[:, 0], len(self.labels))
        write_text(folder / "confusion.csv", confusion_table(counts, self.labels))

    def draw(self, record: ImageRecord, metrics: Metrics) -> Image.Image:  # noqa: ARG002
        """The picture with its best classes and the true one."""
        answers = self._ranked(self.best.of(np.array([record.image_id])), 0)
        assert record.image_label is not None, "evaluated pictures have a class"
        image = read_image(record.path, (record.height, record.width))
        return draw_classes(image, answers, self.labels.names[record.image_label])

    def explain(self, records: Records, metrics: Metrics) -> str | None:
        """Where not one answer is right: whether all are the same."""
        if metrics["top1"] != 0 or metrics.notes:
            return None
        said = np.unique(self.best.of(records.image_ids).labels[:, 0])
        if len(said) == 1:
            return (
                f"Every picture is said to be {self.labels.names[said[0]]}: the model has not learned to tell classes."
            )
        return (
            "Not one answer is right: fewer than by chance, so the classes of model and data set may not be the same."
        )

    def _ranked(self, best: BestClasses, row: int) -> list[tuple[str, float]]:
        names = [self.labels.names[label] for label in best.labels[row].tolist()]
        return list(zip(names, best.scores[row].tolist(), strict=True))


def _truth(records: Records) -> Int64[np.ndarray, "images"]:
    assert records.image_labels is not None, "the data has a class per picture"
    return records.image_labels
