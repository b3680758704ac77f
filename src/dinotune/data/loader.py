"""Loaders: from Records to Batches, in worker processes or in this one, with the same result."""

import os
import signal
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from dinotune import config
from dinotune.config.tasks import IGNORED
from dinotune.data.batches import Batch
from dinotune.data.fixed_views import MIRRORED, whole_pictures
from dinotune.data.images import read_image
from dinotune.data.mask_views import seen_masks, varied_view
from dinotune.data.pixel_labels import class_map, object_masks
from dinotune.data.records import ImageRecord, Records
from dinotune.data.sampler import Draw, EvaluationBatchSampler, TrainBatchSampler
from dinotune.data.transforms import View, apply_view, draw_view, plain_view
from dinotune.errors import DataError
from dinotune.types import Targets

VIEW, CROPS, FIXED = 3, 5, 7
"""Keys that keep the draws of views, and those of other places for crops, apart from the samplers' (1, 2, 4 and 6)."""

MOST_WORKERS = 8


@dataclass(frozen=True)
class Sample:
    """One picture on its way into a batch."""

    draw: Draw
    record: ImageRecord
    image: Tensor | None
    """None where it is unreadable."""
    boxes: Tensor
    """Of the objects that the view shows, in its pixels."""
    labels: Tensor
    class_map: Tensor | None = None
    masks: Tensor | None = None
    error: str = ""

    @classmethod
    def unread(cls, draw: Draw, record: ImageRecord, error: str) -> "Sample":
        """A picture that could not be read, and why."""
        return cls(draw, record, None, torch.empty(0, 4), torch.empty(0, dtype=torch.int64), error=error)


class Pictures(Dataset[Sample]):
    """Reads one picture per Draw, or the Batch of several; random views only where it is for training."""

    def __init__(self, records: Records, data: config.Data, *, training: bool) -> None:
        self._records = records
        self._data = data
        self._training = training

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, draw: Draw) -> Sample:
        record = self._records[draw.picture]
        picture_hw, network_hw = (record.height, record.width), (draw.height, draw.width)
        view = plain_view(picture_hw, self._data)
        if self._training and (draw.view is None or draw.view >= whole_pictures(self._data.augmentation)):
            view = draw_view(picture_hw, network_hw, self._data, _generator(draw, record, VIEW))
        elif draw.view is not None:
            view = replace(view, flip=draw.view == MIRRORED)
        try:
            return self._seen(draw, record, view)
        except DataError as error:
            return Sample.unread(draw, record, str(error))

    def __getitems__(self, draws: list[Draw]) -> Batch:
        return collate([self[draw] for draw in draws])

    def _seen(self, draw: Draw, record: ImageRecord, view: View) -> Sample:
        """The picture and its labels as the view shows them."""
        picture_hw, network_hw = (record.height, record.width), (draw.height, draw.width)
        classes = None
        if self._records.has == "semantic_masks":
            classes = class_map(record)
            if self._training:
                view = varied_view(
                    view, classes, self._data.augmentation.crop_one_class, _generator(draw, record, CROPS)
                )
        picture = read_image(record.path, picture_hw, view.decoded_hw(network_hw))
        objects = np.flatnonzero(~record.crowd)
        image, boxes, rows = apply_view(picture, record.boxes[objects], objects, view, picture_hw, network_hw)
        labels, masks = torch.from_numpy(record.labels)[rows], None
        if self._records.has == "instance_masks":
            # One by one: a thousand masks at the size of a large picture are gigabytes.
            each = [seen_masks(object_masks(record, row), view, network_hw, outside=0) for row in rows.numpy()[:, None]]
            masks = torch.cat([torch.empty(0, *network_hw, dtype=torch.bool), *each])
            shown = masks.flatten(1).any(1)
            boxes, labels, masks = boxes[shown], labels[shown], masks[shown]
        seen = None if classes is None else seen_masks(classes[None], view, network_hw, outside=IGNORED)[0]
        return Sample(draw, record, image, boxes, labels, seen, masks)


def _generator(draw: Draw, record: ImageRecord, what: int) -> np.random.Generator:
    """Private to a picture in an epoch; a picture that comes again in the same epoch is seen differently.

    Where views are fixed, private to the picture, by its id, and to the view.
    """
    if draw.view is not None:
        return np.random.default_rng([draw.seed, what, FIXED, draw.view, record.image_id, 0])
    key = [draw.seed, what, draw.epoch, draw.picture]
    return np.random.default_rng([*key, draw.repeat] if draw.repeat else key)


def collate(samples: list[Sample]) -> Batch:
    """One Batch of samples of one size; unreadable pictures are left out and named."""
    read = [sample for sample in samples if not sample.error]
    first, records = samples[0].draw, [sample.record for sample in read]
    images = [sample.image for sample in read if sample.image is not None]
    maps = [sample.class_map for sample in read if sample.class_map is not None]
    masks = [sample.masks for sample in read if sample.masks is not None]
    whole = [record.image_label for record in records if record.image_label is not None]
    return Batch(
        images=torch.stack(images) if images else torch.empty(0, 3, first.height, first.width, dtype=torch.uint8),
        targets=Targets(
            boxes=tuple(sample.boxes for sample in read),
            labels=tuple(sample.labels for sample in read),
            classes=torch.tensor(whole) if whole else None,
            class_maps=torch.stack(maps) if maps else None,
            masks=tuple(masks) if masks else None,
        ),
        image_ids=tuple(record.image_id for record in records),
        paths=tuple(str(record.path) for record in records),
        picture_hw=tuple((record.height, record.width) for record in records),
        corrupt=tuple(sample.error for sample in samples if sample.error),
        index=first.batch,
        epoch=first.epoch,
        view=first.view,
    )


def as_it_is(batch: Any) -> Any:
    """In the place of `collate` for data sets that bring batches (`__getitems__`)."""
    return batch


def training_loader(
    records: Records,
    data: config.Data,
    *,
    batch_size: int,
    multiple: int,
    seed: int,
    device_type: str,
    pictures: Dataset[Any] | None = None,
) -> DataLoader[Any]:
    """Shuffled, augmented `Batch`es whose sides are multiples of `multiple`.

    `loader.batch_sampler.set_epoch(epoch, start_batch)` comes before each pass. `pictures` answer lists of draws
    with batches (`__getitems__`) in the place of those that are read from files.
    """
    sampler = TrainBatchSampler(records, data, batch_size=batch_size, multiple=multiple, seed=seed)
    workers = worker_count(data)
    return DataLoader(
        pictures or Pictures(records, data, training=True),
        batch_sampler=sampler,
        collate_fn=as_it_is,
        num_workers=workers,
        persistent_workers=workers > 0,
        worker_init_fn=outlive_one_signal,
        pin_memory=device_type == "cuda",
        # The loader draws a seed for its workers at each pass; that must not advance the global generator.
        generator=torch.Generator().manual_seed(seed),
    )


def evaluation_loader(
    records: Records,
    data: config.Data,
    *,
    batch_size: int,
    multiple: int,
    device_type: str = "cpu",
    pictures: Dataset[Any] | None = None,
) -> DataLoader[Any]:
    """`Batch`es of every picture exactly once, whole and unchanged but for its size; `pictures` as for training."""
    workers = worker_count(data)
    return DataLoader(
        pictures or Pictures(records, data, training=False),
        batch_sampler=EvaluationBatchSampler(records, data, batch_size=batch_size, multiple=multiple),
        collate_fn=as_it_is,
        num_workers=workers,
        persistent_workers=workers > 0,
        worker_init_fn=outlive_one_signal,
        pin_memory=device_type == "cuda",
        generator=torch.Generator().manual_seed(0),
    )


def outlive_one_signal(_: int) -> None:
    """Let a worker ignore the first Ctrl-C or SIGTERM: sent to a whole process group, it is the trainer's to act on.

    The next one of either kind ends the worker, so that its parent can still put an end to it.
    """

    def ignore_once(_: int, __: FrameType | None) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ignore_once)


def end_workers(loader: DataLoader[Any]) -> None:
    """End the processes that a loader keeps between passes; a process that ends with them still there waits for them."""
    # Torch has no public name for either.
    if isinstance(loader._iterator, _MultiProcessingDataLoaderIter):
        loader._iterator._shutdown_workers()
        loader._iterator = None


def worker_count(data: config.Data) -> int:
    """Number of loading processes; `auto` takes the cores this process may use less one, at most 8."""
    if data.workers != "auto":
        return data.workers
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores - 1, MOST_WORKERS)
