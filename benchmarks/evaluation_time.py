"""COCO's numbers of many detections: our evaluation beside pycocotools, which must say the same.

Run `uv run python -m benchmarks.evaluation_time`; the result goes to `benchmarks/results/`.
"""

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from benchmarks.side_by_side import in_turn, machine, publish, ratio, table, timed
from dinotune.data.records import ImageRecord, LabelSet, Records
from dinotune.tasks.detection.coco_metrics import COCO_NUMBERS, average_precision, measure
from dinotune.tasks.detection.detected_boxes import DetectedBoxes, to_coco_ground_truth, to_coco_results

PICTURES, DETECTIONS, CLASSES, SIDE, ROUNDS = 500, 100, 80, 640, 3
OBJECTS = (2, 14)
"""Fewest and most objects of a picture; COCO has 7."""


def some_boxes(count: int, generator: np.random.Generator) -> np.ndarray:
    """Boxes of all of COCO's sizes."""
    sides = np.exp(generator.uniform(np.log(8), np.log(SIDE / 2), (count, 2)))
    corners = generator.uniform(0, SIDE - sides)
    return np.concatenate([corners, corners + sides], axis=1)


def truth(generator: np.random.Generator) -> Records:
    """Pictures with objects of any class."""

    def picture(number: int) -> ImageRecord:
        boxes = some_boxes(int(generator.integers(*OBJECTS)), generator)
        return ImageRecord(
            path=Path(f"{number}.jpg"),
            image_id=number,
            height=SIDE,
            width=SIDE,
            boxes=boxes,
            labels=generator.integers(0, CLASSES, len(boxes)),
            crowd=np.zeros(len(boxes), np.bool_),
            areas=(boxes[:, 2:] - boxes[:, :2]).prod(axis=1),
        )

    labels = LabelSet(tuple(f"class {number}" for number in range(CLASSES)), tuple(range(1, CLASSES + 1)))
    return Records.from_images("synthetic", labels, [picture(1 + number) for number in range(PICTURES)])


def found(records: Records, generator: np.random.Generator) -> DetectedBoxes:
    """Each object a few times, moved by noise and now and then of another class, and boxes around nothing."""

    def picture(record: ImageRecord) -> DetectedBoxes:
        chosen = generator.integers(0, len(record.boxes), DETECTIONS // 2)
        boxes, labels = record.boxes[chosen], record.labels[chosen]
        noise = generator.normal(0, 0.1, boxes.shape) * np.tile(boxes[:, 2:] - boxes[:, :2], 2)
        labels = np.where(generator.random(len(labels)) < 0.2, generator.integers(0, CLASSES, len(labels)), labels)
        rest = DETECTIONS - len(chosen)
        return DetectedBoxes(
            image_ids=np.full(DETECTIONS, record.image_id),
            boxes=np.concatenate([boxes + noise, some_boxes(rest, generator)]),
            scores=generator.random(DETECTIONS),
            labels=np.concatenate([labels, generator.integers(0, CLASSES, rest)]),
        )

    return DetectedBoxes.concatenate([picture(records[index]) for index in range(len(records))])


def pycocotools_says(truth: dict[str, Any], results: list[dict[str, Any]]) -> list[float]:
    """The twelve numbers, as its documentation computes them."""
    with contextlib.redirect_stdout(io.StringIO()):
        objects = COCO()
        objects.dataset = truth
        objects.createIndex()
        evaluation = COCOeval(objects, objects.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    numbers: list[float] = evaluation.stats.tolist()
    return numbers


def main() -> None:
    """Compare the numbers, then the time."""
    generator = np.random.default_rng(0)
    records = truth(generator)
    detected = found(records, generator)

    def reference() -> list[float]:
        return pycocotools_says(to_coco_ground_truth(records), to_coco_results(detected, records.labels, exact=True))

    ours, theirs = measure(records, detected).numbers, dict(zip(COCO_NUMBERS, reference(), strict=True))
    assert ours["AP"] == theirs["AP"] == average_precision(records, detected), f"{ours} is not {theirs}"
    apart = max(abs((value or 0) - theirs[name]) for name, value in ours.items())
    assert apart < 1e-15, f"{ours} is not {theirs}"
    timers = {
        "AP alone, as in training": timed(lambda: average_precision(records, detected)),
        "all numbers, those of each class and its best threshold": timed(lambda: measure(records, detected)),
    }
    times = in_turn({**timers, "theirs": timed(reference)}, ROUNDS)
    publish(
        "evaluation_time",
        "# COCO's numbers beside pycocotools",
        f"{machine('faster-coco-eval', 'pycocotools', 'numpy')}. {PICTURES} synthetic pictures with {len(records.boxes)} objects and "
        f"{len(detected)} detections of {CLASSES} classes. AP is the same to the last digit ({ours['AP']!r}), "
        f"and of the other eleven numbers none is farther away than {apart:.0e}, the order of a sum. "
        f"Shares of pycocotools' processor time (reading, matching, twelve numbers), in turn, median of {ROUNDS} rounds: "
        "below 1 dinotune is faster.",
        table(
            ["dinotune computes", "share of pycocotools' time"],
            [[name, f"{ratio(times, name, 'theirs'):.3f}"] for name in timers],
        ),
    )


if __name__ == "__main__":
    main()
