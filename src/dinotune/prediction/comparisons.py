"""Pictures of an evaluation: truth beside prediction."""

from pathlib import Path

from dinotune.evaluation import Evaluation
from dinotune.files import distinct_names
from dinotune.tasks.drawings import save_drawing


def draw_pictures(evaluation: Evaluation, folder: Path, count: int) -> None:
    """Draw `count` pictures of an evaluation, truth beside prediction: the first, or some of all where they lie by class."""
    records = evaluation.records
    count = min(count, len(records))
    step = len(records) // count if count and records.has == "classes" else 1
    shown = [records[index * step] for index in range(count)]
    for record, name in zip(shown, distinct_names([record.path for record in shown], ".jpg"), strict=True):
        save_drawing(evaluation.answers.draw(record, evaluation.metrics), folder / name)
