"""Who knows what was drawn scores 1.0 in every format, and less where one class is read as another."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from faster_coco_eval.core import mask as coco_mask
from PIL import Image
from torch.nn import functional

from dinotune import config
from dinotune.config.tasks import IGNORED
from dinotune.data.batches import Batch
from dinotune.data.records import Records
from dinotune.data.splits import read_records
from dinotune.tasks.base import Metrics
from dinotune.tasks.segmentation.answers import SegmentationAnswers
from dinotune.types import SemanticMaps, Targets
from tests.data.mask_sets import write_pair

HW = (24, 32)


def drawn(classes: int, seed: int, ignored: bool = True) -> np.ndarray:
    """Blocks of classes, all of them; the last row is ignored."""
    rng = np.random.default_rng(seed)
    blocks = rng.permutation(np.arange(6 * 8) % classes).reshape(6, 8)
    classes_of_pixels = blocks.repeat(4, 0).repeat(4, 1)
    if ignored:
        classes_of_pixels[-1] = IGNORED
    return classes_of_pixels


def of_values(truth: np.ndarray, values: tuple[int, ...], ignored: int) -> np.ndarray:
    return np.where(truth == IGNORED, ignored, np.array(values)[truth.clip(min=0)])


def plain(root: Path, truth: np.ndarray, stem: str) -> None:
    pixels = of_values(truth, (3, 64, 200), 255)
    write_pair(root / f"images/val/{stem}.jpg", root / f"masks/val/{stem}.png", pixels)
    (root / "classes.yaml").write_text("classes: {3: car, 64: tree, 200: sky}\n")


def ade20k(root: Path, truth: np.ndarray, stem: str) -> None:
    pixels = of_values(truth, (1, 2, 3), 0)
    write_pair(root / f"images/validation/{stem}.jpg", root / f"annotations/validation/{stem}.png", pixels)
    lines = [f"{i}\t0.1\t9\t9\t1\t{name}" for i, name in enumerate(("wall", "tree", "sky"), start=1)]
    (root / "objectInfo150.txt").write_text("\n".join(["Idx\tRatio\tTrain\tVal\tStuff\tName", *lines]) + "\n")


def ade20k_full(root: Path, truth: np.ndarray, stem: str) -> None:
    values = of_values(truth, (4, 258, 3327), 0)
    pixels = np.stack([values // 256 * 10, values % 256, np.full_like(values, 7)], 2)
    folder = root / "images/ADE/validation/urban/street"
    write_pair(folder / f"ADE_val_0000000{stem}.jpg", folder / f"ADE_val_0000000{stem}_seg.png", pixels)
    (root / "classes.yaml").write_text("names: {4: door, 258: sky, 3327: zebra}\n")


def cityscapes(root: Path, truth: np.ndarray, stem: str) -> None:
    ids = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
    city = root / "gtFine/val/aachen"
    picture = root / f"leftImg8bit/val/aachen/{stem}_leftImg8bit.png"
    write_pair(picture, city / f"{stem}_gtFine_labelIds.png", of_values(truth, ids, 4))


def voc(root: Path, truth: np.ndarray, stem: str) -> None:
    pixels = of_values(truth, tuple(range(21)), 255)
    write_pair(root / f"JPEGImages/{stem}.jpg", root / f"SegmentationClass/{stem}.png", pixels, [9] * 768)
    (root / "ImageSets/Segmentation").mkdir(parents=True, exist_ok=True)
    (root / "ImageSets/Segmentation/val.txt").write_text("0\n1\n2\n")


LAYOUTS: dict[str, tuple[Callable[[Path, np.ndarray, str], None], int]] = {
    "plain": (plain, 3),
    "ade20k": (ade20k, 3),
    "ade20k_full": (ade20k_full, 3),
    "cityscapes": (cityscapes, 19),
    "voc": (voc, 21),
}


def score(records: Records, said: dict[str, np.ndarray]) -> Metrics:
    """What answers are worth that say of each picture, by its stem, these classes."""
    answers = SegmentationAnswers(records)
    for index in range(len(records)):
        record = records[index]
        classes = said[record.path.stem.removeprefix("ADE_val_0000000").removesuffix("_leftImg8bit")]
        scores = functional.one_hot(torch.from_numpy(classes.clip(min=0)), len(records.labels)).permute(2, 0, 1)
        images = torch.zeros(1, 3, *HW, dtype=torch.uint8)
        ids, sizes = (record.image_id,), ((record.height, record.width),)
        answers.add(SemanticMaps(scores[None].float()), Batch(images, Targets((), ()), ids, ("",), sizes, (), 0, 0))
    return answers.measure(records)


@pytest.mark.parametrize("name", LAYOUTS)
def test_truth_scores_one(tmp_path: Path, name: str) -> None:
    write, classes = LAYOUTS[name]
    truth = {str(number): drawn(classes, number) for number in range(3)}
    for stem, classes_of_pixels in truth.items():
        write(tmp_path, classes_of_pixels, stem)
    records = read_records(config.Data(root=tmp_path), "val", seed=0, needs="semantic_masks")
    assert (len(records), len(records.labels)) == (3, classes)
    metrics = score(records, truth)
    assert set(metrics.numbers.values()) == {1.0}
    assert {values["IoU"] for values in metrics.per_class.values()} == {1.0}
    swapped = {stem: np.where(pixels == 1, 0, pixels) for stem, pixels in truth.items()}
    assert (score(records, swapped)["mIoU"] or 0) < 0.95


def test_painted_objects_score_one(shapes: Path) -> None:
    """The masks that the drawing wrote, painted by hand from the file, against what was read."""
    records = read_records(config.Data(root=shapes), "val", seed=0, needs="semantic_masks")
    assert records.labels.names == ("background", "disc", "square", "triangle")
    truth = json.loads((shapes / "annotations/instances_val.json").read_text())
    said = {}
    for entry in truth["images"]:
        pixels = np.zeros((entry["height"], entry["width"]), np.int64)
        for annotation in truth["annotations"]:
            if annotation["image_id"] == entry["id"]:
                rle = coco_mask.frPyObjects(annotation["segmentation"], entry["height"], entry["width"])
                pixels[coco_mask.decode(rle).astype(bool)] = annotation["category_id"]
        said[Path(entry["file_name"]).stem] = pixels
    assert score(records, said)["mIoU"] == 1.0


@pytest.mark.parametrize("name", ["nuclei", "coco53"])
def test_real_masks_score_one(shared_data: Path, name: str) -> None:
    data = config.Data(root=shared_data / name, val=config.Split(limit=6))
    records = read_records(data, "val", seed=0, needs="semantic_masks")
    assert records.mask_files is not None
    coding = records.mask_files.coding
    said = {}
    for path, mask in zip(records.paths, records.mask_files.paths, strict=True):
        pixels = np.asarray(Image.open(mask)).astype(np.int64)
        table = np.zeros(256, np.int64)
        table[list(coding.values)] = np.arange(len(coding.values))
        said[Path(str(path)).stem] = table[pixels]
    metrics = score(records, said)
    assert (metrics["mIoU"], metrics["pixel_accuracy"]) == (1.0, 1.0)
