"""Detected objects with masks of a split: COCO's numbers for boxes and for masks."""

from dataclasses import replace

from dinotune.data.records import Records
from dinotune.tasks.detection.answers import DetectionAnswers
from dinotune.tasks.detection.coco_metrics import DetectionMetrics, mask_metrics


class InstanceAnswers(DetectionAnswers):
    """Rows of detected boxes with masks."""

    def measure(self, records: Records) -> DetectionMetrics:
        """`mask_AP`, … by the overlap of masks; `AP`, … and thresholds by that of the boxes around them."""
        boxes = super().measure(records)
        numbers, per_class = mask_metrics(records, self.detected, self.max_detections)
        both = {name: {**per_class[name], **values} for name, values in boxes.per_class.items()}
        return replace(boxes, numbers={**numbers, **boxes.numbers}, per_class=both)
