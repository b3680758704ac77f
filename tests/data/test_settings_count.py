"""No setting of the data is read and ignored: each changes records, network sizes or what the network sees."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dinotune import config
from dinotune.config.loading import load_experiment
from dinotune.config.reference import settings_reference
from dinotune.data.buckets import network_size
from dinotune.data.loader import training_loader, worker_count
from dinotune.data.sampler import TrainBatchSampler
from dinotune.data.splits import read_records
from dinotune.data.transforms import draw_view
from dinotune.errors import DataError
from tests.data.mask_sets import write_pair
from tests.data.small_sets import drawn_records, write_coco_set, write_voc_set
from tests.mask_folders import draw_mask_folder

IN_TRAINING = {"data.augmentation.photometric"}
"""The training acts on these, so its tests must show it."""


@pytest.fixture
def _two_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`there` in COCO's format, `both` in both formats, and `other` pictures and annotations beside them, `masks` and `scenes` of classes."""
    monkeypatch.chdir(tmp_path)
    for split in ("train2017", "val2017", "test2017"):
        write_coco_set(Path("there"), split=split, folder="images")
    write_coco_set(Path("other"), split="other", folder=".", categories=[{"id": 90, "name": "cup"}], annotations=[])
    Path("one.json").write_text(json.dumps({"dataset_size": 2, "indices": [1]}))
    write_voc_set(Path("both"), {str(i): [("cat", (1, 1, 5, 5))] for i in range(8)}, {"train": "01234567"})
    write_coco_set(Path("both"))
    for number in range(2):
        write_pair(Path(f"masks/images/{number}.jpg"), Path(f"masks/masks/{number}.png"))
    draw_mask_folder(Path("scenes"), train=8)
    write_coco_set(Path("broken"), images=[{"id": 7, "file_name": "seven.jpg"}, {"id": 3, "file_name": "gone.jpg"}])


def records_of(split: str) -> Callable[[config.Data], Any]:
    def fingerprint(data: config.Data) -> Any:
        records = read_records(data, split, seed=0)
        return records.fingerprint(), records.paths.tolist()

    return fingerprint


def outcome(data: config.Data) -> int | str:
    try:
        return len(read_records(data, "train", seed=0))
    except DataError as error:
        return str(error)


def size(data: config.Data) -> tuple[int, int]:
    return network_size((480, 640), data, 16)


def views(data: config.Data) -> list[Any]:
    generator = np.random.default_rng(0)
    return [draw_view((480, 640), (240, 320), data, generator) for _ in range(20)]


def sizes_drawn(data: config.Data) -> set[tuple[int, int]]:
    records = drawn_records(Path(), [(40, 60)] * 20)
    batches = TrainBatchSampler(records, data, batch_size=1, multiple=8, seed=0)
    return {(draw.height, draw.width) for batch in batches for draw in batch}


def pictures_drawn(data: config.Data) -> int:
    records = drawn_records(Path(), [(40, 60)] * 20, objects=1, classes=9)
    return sum(len(batch) for batch in TrainBatchSampler(records, data, batch_size=3, multiple=8, seed=0))


def different_pictures(data: config.Data) -> int:
    records = drawn_records(Path(), [(40, 60)] * 5)
    loader = training_loader(records, data, batch_size=1, multiple=8, seed=0, device_type="cpu")
    seen = set()
    for epoch in range(4):
        loader.batch_sampler.set_epoch(epoch)  # type: ignore[union-attr]
        seen |= {(batch.image_ids, batch.images.numpy().tobytes()) for batch in loader}
    return len(seen)


def boxes_kept(data: config.Data) -> int:
    records = drawn_records(Path(), [(40, 60)] * 20)
    loader = training_loader(records, data, batch_size=1, multiple=8, seed=0, device_type="cpu")
    return sum(len(boxes) for batch in loader for boxes in batch.targets.boxes)


def class_maps_seen(data: config.Data) -> list[Any]:
    records = read_records(data, "train", seed=0, needs="semantic_masks")
    loader = training_loader(records, data, batch_size=1, multiple=8, seed=0, device_type="cpu")
    return [batch.targets.class_maps.tolist() for batch in loader]


CROPS = ("data.augmentation.crop=1", "data.augmentation.crop_min_side=0.3", "data.size=32", "data.workers=0")
BROKEN = "broken/annotations/instances_train2017.json"
EFFECTS: dict[str, tuple[tuple[str, ...], str, Callable[[config.Data], Any]]] = {
    "data.root": (("data=there", "data.format=coco"), "both", records_of("train")),
    "data.format": (("data=both", "data.format=coco"), "voc", records_of("train")),
    **{
        f"data.{split}.{key}": (("data=there",), value, records_of(split))
        for split in ("train", "val", "test")
        for key, value in (("images", "other"), ("annotations", "other/annotations/instances_other.json"), ("limit", "1"), ("share", "0.5"), ("subset", "one.json"))
    },
    "data.mask_encoding": (("data=masks",), "ade20k", records_of("train")),
    "data.ignore_ids": (("data=masks",), "[2]", records_of("train")),
    "data.validation_share": (("data=both", "data.format=voc"), "0.5", records_of("val")),
    "data.resize": ((), "square", size),
    "data.size": ((), "320", size),
    "data.max_size": ((), "320", size),
    "data.augmentation.flip": ((), "0", views),
    "data.augmentation.flip_vertical": ((), "0.5", views),
    "data.augmentation.rotation": ((), "20", views),
    "data.augmentation.sizes": ((), "[480, 512]", sizes_drawn),
    "data.augmentation.crop_resize": ((), "[400]", views),
    "data.augmentation.crop_aspect": ((), "[0.75, 1.33]", views),
    "data.augmentation.crop_size": (("data.augmentation.crop_resize=[400]",), "[100, 200]", views),
    "data.repeat_rare": ((), "1", pictures_drawn),
    "data.augmentation.scale_jitter": ((), "[1, 1]", sizes_drawn),
    "data.augmentation.crop": ((), "0", views),
    "data.augmentation.views": (("data.size=32", "data.workers=0"), "2", different_pictures),
    "data.augmentation.crop_min_side": ((), "0.9", views),
    "data.augmentation.square_crops": (("data.augmentation.crop=1",), "true", sizes_drawn),
    "data.augmentation.crop_one_class": ((*CROPS, "data=scenes"), "0.3", class_maps_seen),
    "data.augmentation.min_visible": (CROPS, "0.95", boxes_kept),
    "data.workers": ((), "3", worker_count),
    "data.on_error": (("data=broken", f"data.val.annotations={BROKEN}"), "skip", outcome),
    "data.max_skipped": (("data=broken", f"data.val.annotations={BROKEN}", "data.on_error=skip"), "0", outcome),
}  # fmt: skip


def test_no_setting_is_forgotten() -> None:
    assert set(EFFECTS) | IN_TRAINING == {row.key for row in settings_reference() if row.key.startswith("data.")}


@pytest.mark.usefixtures("_two_sets")
@pytest.mark.parametrize("key", EFFECTS)
def test_the_setting_changes_what_is_read_or_seen(key: str) -> None:
    context, value, observe = EFFECTS[key]

    def observed(*more: str) -> Any:
        return observe(load_experiment(config.Experiment(), (), [*context, *more], {}).experiment.data)

    before = observed()
    assert before == observed(), "what is observed is the same twice"
    assert observed(f"{key}={value}") != before
