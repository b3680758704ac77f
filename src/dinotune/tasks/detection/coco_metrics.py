"""COCO's twelve numbers, per-class numbers and thresholds of one split, by faster-coco-eval.

AP is COCO's (Lin et al., https://arxiv.org/abs/1405.0312): always with at most 100 detections per
picture and class; another limit is reported beside it.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64

from dinotune.data.records import Records
from dinotune.tasks.base import Metrics
from dinotune.tasks.detection.best_f1 import OperatingPoint, best_f1
from dinotune.tasks.detection.detected_boxes import DetectedBoxes, check_labels, to_coco_ground_truth, to_coco_results

COCO_NUMBERS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
STANDARD_LIMIT = 100
# Places of the evaluator's arrays: IoU .50:.05:.95; areas all, small (< 32^2), medium, large (> 96^2).
IOU_50, IOU_75 = 0, 5
AREAS = {"": 0, "s": 1, "m": 2, "l": 3}


@dataclass(frozen=True, kw_only=True)
class DetectionMetrics(Metrics):
    """What one set of detections is worth: COCO's twelve numbers, with another limit than 100 also `AP@max300` and so on.

    Of a class: AP, AP50, objects, threshold, precision, recall, F1 (IoU 0.5, score >= threshold).
    """

    precision: float
    """At the per-class thresholds and IoU 0.5, over all classes together."""
    recall: float
    f1: float
    objects: int
    """Without crowd regions."""
    detections: int

    def __getitem__(self, name: str) -> float | None:
        """A number by its name: `metrics["AP50"]`; KeyError for an unknown one."""
        overall = {"precision": self.precision, "recall": self.recall, "F1": self.f1}
        return overall[name] if name in overall else super().__getitem__(name)

    @property
    def thresholds(self) -> dict[str, float | None]:
        """Class name -> score with the best F1, None where nothing is found."""
        return {name: values["threshold"] for name, values in self.per_class.items()}

    def to_json(self) -> dict[str, Any]:
        """Plain values for `metrics.json`."""
        overall = {"precision": self.precision, "recall": self.recall, "F1": self.f1}
        return {**super().to_json(), **overall, "objects": self.objects, "detections": self.detections}


@dataclass(frozen=True)
class _Curves:
    """The evaluator's arrays; -1 marks places without objects."""

    precision: Float64[np.ndarray, "iou recalls classes areas limits"]
    recall: Float64[np.ndarray, "iou classes areas limits"]
    limits: list[int]

    def ap(
        self, *, area: str = "", iou: int | slice = slice(None), limit: int, label: int | slice = slice(None)
    ) -> float | None:
        return _mean(self.precision[iou, :, label, AREAS[area], self.limits.index(limit)])

    def ar(self, *, area: str = "", limit: int) -> float | None:
        return _mean(self.recall[:, :, AREAS[area], self.limits.index(limit)])


def measure(records: Records, detected: DetectedBoxes, max_detections: int = STANDARD_LIMIT) -> DetectionMetrics:
    """Measure detections on exactly the pictures of `records` (pass a selection to measure a part).

    Crowd regions are ignored as COCO does. DataError for labels that are no class of the data set.
    """
    check_labels(detected, records.labels)
    known = np.isin(detected.image_ids, records.image_ids)
    notes = _notes(records, detected, int((~known).sum()))
    detected = detected.select(known)
    curves = _evaluate(records, detected, sorted({1, 10, STANDARD_LIMIT, max_detections}))
    points = best_f1(records, detected, max_detections)
    total = OperatingPoint(
        objects=sum(point.objects for point in points),
        threshold=None,
        kept=sum(point.kept for point in points),
        found=sum(point.found for point in points),
    )
    return DetectionMetrics(
        numbers=_numbers(curves, max_detections),
        precision=total.precision,
        recall=total.recall,
        f1=total.f1,
        per_class={
            name: _class_numbers(curves, label, point)
            for label, (name, point) in enumerate(zip(records.labels.names, points, strict=True))
        },
        images=len(records),
        objects=total.objects,
        detections=len(detected),
        notes=notes,
    )


def average_precision(records: Records, detected: DetectedBoxes) -> float | None:
    """COCO's AP alone, without the note and threshold work of `measure`."""
    known = np.isin(detected.image_ids, records.image_ids)
    return _evaluate(records, detected.select(known), [STANDARD_LIMIT]).ap(limit=STANDARD_LIMIT)


def _notes(records: Records, detected: DetectedBoxes, outside: int) -> tuple[str, ...]:
    notes = []
    if not len(detected):
        notes.append("there are no detections at all, so every AP is 0: every score is under the head's threshold")
    if outside:
        notes.append(
            f"{outside} of {len(detected)} detections lie on pictures outside {records.name} and were left out"
        )
    if not (~records.crowd).any():
        notes.append(f"{records.name} has no objects on these pictures, so AP cannot be measured")
    return tuple(notes)


def mask_metrics(
    records: Records, detected: DetectedBoxes, max_detections: int = STANDARD_LIMIT
) -> tuple[dict[str, float | None], dict[str, dict[str, float | int | None]]]:
    """COCO's numbers by the overlap of masks, as `mask_AP` and so on: over all classes, and AP and AP50 of each.

    `records` and `detected` have masks.
    """
    if not len(detected):  # without a row, no column of masks either
        detected = replace(detected, masks=np.empty(0, object))
    detected = detected.select(np.isin(detected.image_ids, records.image_ids))
    curves = _evaluate(records, detected, sorted({1, 10, STANDARD_LIMIT, max_detections}), "segm")
    numbers = {f"mask_{name}": value for name, value in _numbers(curves, max_detections).items()}
    per_class: dict[str, dict[str, float | int | None]] = {
        name: {
            "mask_AP": curves.ap(label=label, limit=STANDARD_LIMIT),
            "mask_AP50": curves.ap(label=label, iou=IOU_50, limit=STANDARD_LIMIT),
        }
        for label, name in enumerate(records.labels.names)
    }
    return numbers, per_class


def _evaluate(
    records: Records, detected: DetectedBoxes, limits: list[int], overlap: Literal["bbox", "segm"] = "bbox"
) -> _Curves:
    from faster_coco_eval import COCO, COCOeval_faster

    truth = COCO(to_coco_ground_truth(records), print_function=_say_nothing)
    # Unrounded: rounding would make ties of close scores and change the order.
    entries = to_coco_results(detected, records.labels, exact=True)
    if overlap == "segm":
        # Beside a box, the evaluator would take the box's area for that of the mask.
        entries = [{key: value for key, value in entry.items() if key != "bbox"} for entry in entries]
    results = truth.loadRes(entries)
    evaluator = COCOeval_faster(truth, results, overlap, print_function=_say_nothing)
    evaluator.params.catIds = list(records.labels.ids)
    evaluator.params.maxDets = limits
    evaluator.evaluate()
    evaluator.accumulate()
    # The evaluator sorts categories by id; the label set has its own order.
    order = np.argsort(np.argsort(records.labels.ids))
    return _Curves(evaluator.eval["precision"][:, :, order], evaluator.eval["recall"][:, order], limits)


def _say_nothing(*_: object) -> None:
    pass


def _mean(values: Float64[np.ndarray, "..."]) -> float | None:
    measured = values[values > -1]
    return float(measured.mean()) if measured.size else None


def _numbers(curves: _Curves, max_detections: int) -> dict[str, float | None]:
    values = [
        *_precisions(curves, STANDARD_LIMIT),
        *(curves.ar(limit=limit) for limit in (1, 10, STANDARD_LIMIT)),
        *(curves.ar(area=area, limit=STANDARD_LIMIT) for area in "sml"),
    ]
    numbers = dict(zip(COCO_NUMBERS, values, strict=True))
    if max_detections != STANDARD_LIMIT:
        suffix = f"@max{max_detections}"
        extra = zip(COCO_NUMBERS[:6], _precisions(curves, max_detections), strict=True)
        numbers |= {name + suffix: value for name, value in extra}
        numbers["AR" + suffix] = curves.ar(limit=max_detections)
    return numbers


def _precisions(curves: _Curves, limit: int) -> list[float | None]:
    return [
        curves.ap(limit=limit),
        curves.ap(iou=IOU_50, limit=limit),
        curves.ap(iou=IOU_75, limit=limit),
        *(curves.ap(area=area, limit=limit) for area in "sml"),
    ]


def _class_numbers(curves: _Curves, label: int, point: OperatingPoint) -> dict[str, float | int | None]:
    return {
        "AP": curves.ap(label=label, limit=STANDARD_LIMIT),
        "AP50": curves.ap(label=label, iou=IOU_50, limit=STANDARD_LIMIT),
        "objects": point.objects,
        "threshold": point.threshold,
        "precision": point.precision if point.objects else None,
        "recall": point.recall if point.objects else None,
        "F1": point.f1 if point.objects else None,
    }
