"""Detections of a split: COCO's numbers, COCO's files."""

from pathlib import Path

from PIL import Image

from dinotune.data.batches import Batch
from dinotune.data.images import read_image
from dinotune.data.records import ImageRecord, LabelSet, Records
from dinotune.files import write_json
from dinotune.tasks.base import Answers, Metrics
from dinotune.tasks.detection.coco_metrics import DetectionMetrics, measure
from dinotune.tasks.detection.detected_boxes import DetectedBoxes, to_coco_ground_truth, to_coco_results
from dinotune.tasks.detection.diagnosis import explain_zero
from dinotune.tasks.detection.drawing import draw_comparison
from dinotune.tasks.detection.edges import in_picture_pixels, to_supervision, truth_to_supervision
from dinotune.tasks.detection.thresholds import above_thresholds, used_thresholds
from dinotune.types import Detections, Predictions


class DetectionAnswers(Answers):
    """Rows of detected boxes; AP counts the `max_detections` best of each picture."""

    def __init__(self, labels: LabelSet, max_detections: int) -> None:
        self.labels = labels
        self.max_detections = max_detections
        self._parts: list[DetectedBoxes] = []

    @property
    def detected(self) -> DetectedBoxes:
        """All rows so far."""
        return DetectedBoxes.concatenate(self._parts)

    def add(self, predictions: Predictions, batch: Batch) -> None:
        """Take in the filled slots of a batch."""
        assert isinstance(predictions, Detections), "detection heads answer with boxes"
        self.add_rows(in_picture_pixels(predictions, batch))

    def add_rows(self, rows: DetectedBoxes) -> None:
        """Take in detections in the pixels of their pictures."""
        self._parts.append(rows)

    def measure(self, records: Records) -> DetectionMetrics:
        """COCO's numbers, and those at each class's best threshold."""
        return measure(records, self.detected, self.max_detections)

    def write(self, records: Records, folder: Path) -> None:
        """Write `predictions.json` (COCO results) and `ground_truth.json` (COCO)."""
        write_json(folder / "ground_truth.json", to_coco_ground_truth(records))
        write_json(folder / "predictions.json", to_coco_results(self.detected, self.labels))

    def draw(self, record: ImageRecord, metrics: Metrics) -> Image.Image:
        """Boxes that reach their class's threshold, beside the true ones."""
        thresholds = used_thresholds(self.labels, metrics.thresholds)
        rows = self.detected
        rows = above_thresholds(rows.select(rows.image_ids == record.image_id), self.labels, thresholds)
        image = read_image(record.path, (record.height, record.width))
        return draw_comparison(
            image,
            truth_to_supervision(record, self.labels),
            to_supervision(rows, self.labels, (record.height, record.width)),
        )

    def explain(self, records: Records, metrics: Metrics) -> str | None:
        """What would explain an AP of 0 that no note explains."""
        unexplained = metrics["AP"] == 0 and not metrics.notes
        return explain_zero(records, self.detected) if unexplained else None
