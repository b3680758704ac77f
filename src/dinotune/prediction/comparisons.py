"""Pictures of an evaluation: truth beside prediction."""

from pathlib import Path

from dinotune.data.images import read_image
from dinotune.evaluation import Evaluation
from dinotune.prediction.sources import distinct_names
from dinotune.tasks.detection import above_thresholds, to_supervision, truth_to_supervision, used_thresholds
from dinotune.tasks.drawing import draw_comparison, save_drawing


def draw_pictures(evaluation: Evaluation, folder: Path, count: int) -> None:
    """Draw the first `count` pictures of an evaluation, truth beside prediction."""
    records, labels = evaluation.records, evaluation.records.labels
    thresholds = used_thresholds(labels, evaluation.metrics.thresholds)
    shown = [records[index] for index in range(min(count, len(records)))]
    for record, name in zip(shown, distinct_names([record.path for record in shown], ".jpg"), strict=True):
        rows = evaluation.detected.select(evaluation.detected.image_ids == record.image_id)
        predicted = to_supervision(above_thresholds(rows, labels, thresholds), labels)
        image = read_image(record.path, (record.height, record.width))
        drawn = draw_comparison(image, truth_to_supervision(record, labels), predicted)
        save_drawing(drawn, folder / name)
