"""Pictures of an evaluation: truth beside prediction."""

from pathlib import Path

from dinotune.evaluation import Evaluation
from dinotune.prediction.sources import distinct_names
from dinotune.tasks.detection.drawing import save_drawing


def draw_pictures(evaluation: Evaluation, folder: Path, count: int) -> None:
    """Draw the first `count` pictures of an evaluation, truth beside prediction."""
    records = evaluation.records
    shown = [records[index] for index in range(min(count, len(records)))]
    for record, name in zip(shown, distinct_names([record.path for record in shown], ".jpg"), strict=True):
        save_drawing(evaluation.answers.draw(record, evaluation.metrics), folder / name)
