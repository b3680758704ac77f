"""Mask AP: the published answer, 1.0 for the truth in every format, and masks at the size of the picture."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dinotune import config
from dinotune.data.batches import Batch
from dinotune.data.formats import WRITERS
from dinotune.data.records import LabelSet, Records
from dinotune.data.rle import decode_mask, encode_mask
from dinotune.data.segments import Segments
from dinotune.data.splits import read_records
from dinotune.tasks.detection.coco_metrics import COCO_NUMBERS, mask_metrics
from dinotune.tasks.detection.detected_boxes import DetectedBoxes, from_coco_results
from dinotune.tasks.detection.edges import in_picture_pixels, to_supervision
from dinotune.tasks.detection.masks import masks_and_boxes
from dinotune.tasks.instance_segmentation.answers import InstanceAnswers
from dinotune.types import InstanceMasks, Targets
from tests.tasks.detection.test_coco_metrics import fixture_records

PUBLISHED = [0.320, 0.562, 0.299, 0.387, 0.310, 0.327, 0.268, 0.415, 0.417, 0.469, 0.377, 0.381]
"""`hf_expected.json` and COCO's API on the same file, segm."""


def test_published_answer(shared_data: Path) -> None:
    folder = shared_data / "coco_eval"
    truth = json.loads((folder / "instances_val2014_100.json").read_text())
    records = fixture_records(folder)
    by_image: dict[int, list[str]] = {entry["id"]: [] for entry in truth["images"]}
    for annotation in truth["annotations"]:
        by_image[annotation["image_id"]].append(json.dumps(annotation["segmentation"]))
    texts = [text for image_id in records.image_ids.tolist() for text in by_image[image_id]]
    records = replace(records, segments=Segments.from_texts(texts))
    results = json.loads((folder / "instances_val2014_fakesegm100_results.json").read_text())
    boxed = from_coco_results([{**result, "bbox": [0, 0, 1, 1]} for result in results], records.labels)
    masks = np.array([json.dumps(result["segmentation"]) for result in results], object)
    numbers, _ = mask_metrics(records, replace(boxed, masks=masks))
    assert numbers["mask_AP"] == pytest.approx(0.319545, abs=5e-7)
    assert [round(numbers[f"mask_{name}"] or 0, 3) for name in COCO_NUMBERS] == PUBLISHED


def perfect(records: Records) -> DetectedBoxes:
    """The truth as answers, all equally sure."""
    assert records.segments is not None
    count = len(records.boxes)
    hws = [(h, w) for h, w in np.repeat(records.sizes_hw, np.diff(records.offsets), 0).tolist()]
    texts = records.segments.texts(0, count)
    masks = [encode_mask(decode_mask(text, hw)) for text, hw in zip(texts, hws, strict=True)]
    return DetectedBoxes(
        image_ids=np.repeat(records.image_ids, np.diff(records.offsets)),
        boxes=records.boxes,
        scores=np.ones(count),
        labels=records.box_labels,
        masks=np.array(masks, object),
    )


def shifted(detected: DetectedBoxes, records: Records, pixels: int) -> DetectedBoxes:
    """All masks moved to the right."""
    assert detected.masks is not None
    sizes = dict(zip(records.image_ids.tolist(), records.sizes_hw.tolist(), strict=True))
    hws = [(h, w) for h, w in (sizes[image_id] for image_id in detected.image_ids.tolist())]
    moved = [np.roll(decode_mask(text, hw), pixels, 1) for text, hw in zip(detected.masks, hws, strict=True)]
    return replace(detected, masks=np.array([encode_mask(mask) for mask in moved], object))


def read_objects(root: Path, kind: str) -> Records:
    data = config.Data.model_validate({"root": root, "format": kind})
    return read_records(data, "val", seed=0, needs="instance_masks")


@pytest.mark.parametrize("kind", ["coco", "yolo", "instance_folder"])
def test_the_truth_scores_one_after_a_way_through_every_format(shapes: Path, tmp_path: Path, kind: str) -> None:
    original = read_objects(shapes, "coco")
    if kind == "yolo":  # polygons of one part
        x = 2.0 * np.arange(len(original.boxes))
        boxes = np.stack([x, np.full(len(x), 10.0), x + 30, np.full(len(x), 30.0)], 1)
        polygons = [[[x1, y1, x2, y1, x2, y2, x1, y2]] for x1, y1, x2, y2 in boxes.tolist()]
        original = replace(original, boxes=boxes, segments=Segments.from_texts(map(json.dumps, polygons)))
    elif kind == "instance_folder":  # one class, and no object over another
        original = replace(original, labels=replace(original.labels, names=("object",), ids=(1,)))
        original = replace(original, box_labels=np.zeros_like(original.box_labels))
    WRITERS[kind]({"val": original}, tmp_path / "set", "link")
    records = read_objects(tmp_path / "set", kind)
    assert records.has == "instance_masks"
    assert len(records.boxes) == len(original.boxes)
    detected = perfect(records)
    numbers, per_class = mask_metrics(records, detected)
    assert numbers["mask_AP"] == pytest.approx(1.0, abs=1e-9)
    assert {values["mask_AP"] for values in per_class.values()} <= {1.0, None}
    assert (mask_metrics(records, shifted(detected, records, 3))[0]["mask_AP"] or 0) < 0.97


def test_nuclei_score_one(shared_data: Path) -> None:
    data = config.Data(root=shared_data / "nuclei", val=config.Split(limit=4))
    records = read_records(data, "val", seed=0, needs="instance_masks")
    numbers, _ = mask_metrics(records, perfect(records), max_detections=500)
    assert numbers["mask_AP@max500"] == pytest.approx(1.0, abs=1e-9)


def answer_of(masks: torch.Tensor) -> InstanceMasks:
    slots = masks.shape[1]
    return InstanceMasks(
        boxes=torch.zeros(1, slots, 4), scores=torch.full((1, slots), 0.9),
        labels=torch.zeros(1, slots, dtype=torch.int64), masks=masks,
    )  # fmt: skip


def batch_of(picture_hw: tuple[int, int]) -> Batch:
    return Batch(torch.zeros(1, 3, 32, 48, dtype=torch.uint8), Targets((), ()), (7,), ("",), (picture_hw,), (), 0, 0)


def test_masks_come_to_the_picture_s_own_pixels_with_boxes_around_them() -> None:
    masks = torch.zeros(1, 2, 8, 12)
    masks[0, 0, 2:4, 3:6] = 1
    rows = in_picture_pixels(answer_of(masks), batch_of((64, 96)))
    assert rows.masks is not None
    mask = decode_mask(rows.masks[0], (64, 96))
    assert mask[18:30, 26:46].all()
    assert not mask[:15].any()
    assert rows.boxes[0] == pytest.approx([24, 16, 48, 32], abs=1), "edges, right and bottom beyond the last pixel"
    assert rows.boxes[1].tolist() == [0, 0, 0, 0], "a mask without pixels keeps its box"
    found = to_supervision(rows, LabelSet(("cat",), (1,)), (64, 96))
    assert found.mask is not None
    assert np.array_equal(np.asarray(found.mask)[0], mask)


def test_many_masks_are_enlarged_in_parts() -> None:
    masks = (torch.rand(70, 4, 4, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    texts, boxes = masks_and_boxes(masks, np.zeros((70, 4)), (16, 16))
    alone = [masks_and_boxes(mask[None], np.zeros((1, 4)), (16, 16)) for mask in masks]
    assert texts.tolist() == [one[0][0] for one in alone]
    assert np.array_equal(boxes, np.concatenate([one[1] for one in alone]))


def test_without_an_answer_every_number_is_there(shapes: Path) -> None:
    records = read_objects(shapes, "coco")
    metrics = InstanceAnswers(records.labels, 100).measure(records)
    assert metrics["mask_AP"] == metrics["AP"] == 0.0
    assert "there are no detections at all" in metrics.notes[0]
