"""Loaders and batches: the same with any number of workers, broken pictures named, everything once."""

import pickle
from multiprocessing import active_children as children
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dinotune import config
from dinotune.data.batches import Batch
from dinotune.data.images import read_image
from dinotune.data.loader import VIEW, Pictures, evaluation_loader, training_loader, worker_count
from dinotune.data.records import ImageRecord, LabelSet, Records
from dinotune.data.sampler import Draw
from dinotune.data.transforms import apply_view, draw_view
from tests.data.small_sets import drawn_records

SIZES = [(40, 60)] * 7 + [(60, 40)] * 4
FORKED = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning")
"""Python 3.12 and later warn where torch's threads are alive at a fork; the workers use none of them."""


def load(records: Records, workers: int, epoch: int = 0, start: int = 0, **settings: Any) -> list[Batch]:
    data = config.Data.model_validate({"size": 32, "workers": workers} | settings)
    loader = training_loader(records, data, batch_size=3, multiple=8, seed=5, device_type="cpu")
    loader.batch_sampler.set_epoch(epoch, start)  # type: ignore[union-attr]
    return list(loader)


def assert_equal(first: list[Batch], second: list[Batch]) -> None:
    assert len(first) == len(second) > 0
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one.images, other.images)
        assert [b.tolist() for b in one.targets.boxes] == [b.tolist() for b in other.targets.boxes]
        assert [b.tolist() for b in one.targets.labels] == [b.tolist() for b in other.targets.labels]
        assert (one.image_ids, one.paths, one.picture_hw) == (other.image_ids, other.paths, other.picture_hw)
        assert (one.corrupt, one.index, one.epoch) == (other.corrupt, other.index, other.epoch)


@FORKED
def test_workers_change_nothing(tmp_path: Path) -> None:
    records = drawn_records(tmp_path, SIZES)
    alone = load(records, workers=0, epoch=1)
    assert_equal(load(records, workers=2, epoch=1), alone)
    assert_equal(load(records, workers=0, epoch=1, start=2), alone[2:])


@pytest.mark.slow
def test_workers_that_start_anew_change_nothing(tmp_path: Path) -> None:
    """Windows and macOS spawn; Python 3.14 uses a fork server: everything must pickle."""
    records = drawn_records(tmp_path, SIZES)
    data = config.Data(size=32, workers=1)
    loader = training_loader(records, data, batch_size=3, multiple=8, seed=5, device_type="cpu")
    loader.multiprocessing_context = "spawn"
    assert_equal(list(loader), load(records, workers=0))


@FORKED
def test_lasting_workers_follow_the_epoch(tmp_path: Path) -> None:
    records = drawn_records(tmp_path, SIZES)
    data = config.Data(size=32, workers=1)
    loader = training_loader(records, data, batch_size=3, multiple=8, seed=5, device_type="cpu")
    for epoch in (0, 4):
        loader.batch_sampler.set_epoch(epoch)  # type: ignore[union-attr]
        assert_equal(list(loader), load(records, workers=0, epoch=epoch))


@FORKED
def test_lasting_workers_evaluate_again(tmp_path: Path) -> None:
    records = drawn_records(tmp_path, SIZES)
    loader = evaluation_loader(records, config.Data(size=32, workers=1), batch_size=3, multiple=8)
    before = {process.pid for process in children()}
    first, processes = list(loader), {process.pid for process in children()} - before
    assert len(processes) == 1
    assert_equal(list(loader), first)
    assert {process.pid for process in children()} - before == processes, "the same process, still there"


def test_epochs_show_other_views_and_the_global_generators_stay(tmp_path: Path) -> None:
    records = drawn_records(tmp_path, [(40, 60)])
    torch.manual_seed(1)
    before = torch.get_rng_state()
    views = [load(records, workers=0, epoch=epoch, augmentation={"scale_jitter": [1, 1]})[0] for epoch in range(6)]
    assert torch.equal(torch.get_rng_state(), before)
    assert len({view.images.numpy().tobytes() for view in views}) >= 3


def test_repeats_in_one_epoch_are_other_views(tmp_path: Path) -> None:
    """The first view is the one that the epoch shows without repeats."""
    records = drawn_records(tmp_path, [(40, 60)] * 2)
    data = config.Data(augmentation=config.Augmentation(crop=1.0))
    pictures = Pictures(records, data, training=True)
    draws = [Draw(1, 32, 48, seed=5, epoch=2, batch=number, repeat=number) for number in range(3)]
    views = [pictures[draw].image for draw in draws]
    assert len({view.numpy().tobytes() for view in views if view is not None}) == 3
    again = pictures[Draw(1, 32, 48, 5, 2, 9)].image
    assert again is not None
    assert views[0] is not None
    assert torch.equal(again, views[0])
    view = draw_view((40, 60), (32, 48), data, np.random.default_rng([5, VIEW, 2, 1]))
    expected, *_ = apply_view(
        read_image(Path(str(records.paths[1]))), np.empty((0, 4)), np.empty(0, np.int64), view, (40, 60), (32, 48)
    )
    assert torch.equal(again, expected), "the key of a view, written down: a change would break runs that are resumed"


def test_rare_classes_change_nothing_about_workers_and_resuming(tmp_path: Path) -> None:
    records = drawn_records(tmp_path, SIZES, classes=9)
    whole = load(records, workers=0, epoch=1, repeat_rare=1.0)
    assert sum(len(batch) for batch in whole) > len(SIZES)
    assert_equal(load(records, workers=0, epoch=1, start=3, repeat_rare=1.0), whole[3:])


@pytest.mark.parametrize("rotation", [0, 30])
def test_every_change_at_once_keeps_the_shape(tmp_path: Path, rotation: float) -> None:
    changes = {
        "sizes": [24, 32, 40],
        "rotation": rotation,
        "flip_vertical": 0.5,
        "crop_resize": [30],
        "crop_size": [16, 24],
    }
    records = drawn_records(tmp_path, SIZES)
    for batch in load(records, workers=0, augmentation=changes):
        height, width = batch.images.shape[2:]
        for boxes in batch.targets.boxes:
            assert (boxes >= 0).all()
            assert (boxes <= torch.tensor([width, height, width, height])).all()
            assert (boxes[:, 2:] - boxes[:, :2] >= 1).all()


def test_without_augmentation_pictures_arrive_whole(tmp_path: Path) -> None:
    records = drawn_records(tmp_path, [(32, 48)] * 2)
    (batch,) = load(records, workers=0, augmentation="none")
    for image, boxes, path in zip(batch.images, batch.targets.boxes, batch.paths, strict=True):
        np.testing.assert_array_equal(image.permute(1, 2, 0), np.asarray(Image.open(path)))
        index = records.paths.tolist().index(path)
        np.testing.assert_allclose(boxes, records[index].boxes.clip(0, (48, 32, 48, 32)), rtol=1e-6)
    assert batch.images.is_contiguous()


def test_crowds_are_no_targets(tmp_path: Path) -> None:
    records = drawn_records(tmp_path, [(40, 60)], objects=4)
    crowd = np.array([False, True, False, True])
    marked = Records(**{**vars(records), "crowd": crowd})
    (batch,) = load(marked, workers=0, augmentation="none")
    assert batch.targets.labels[0].tolist() == records.box_labels[~crowd].tolist()


def test_unreadable_pictures_are_left_out_and_named(tmp_path: Path) -> None:
    records = drawn_records(tmp_path, [(40, 60)] * 5)
    Path(str(records.paths[2])).write_bytes(b"no picture")
    Image.new("RGB", (30, 30)).save(str(records.paths[4]))
    batches = load(records, workers=0)
    assert sorted(image_id for batch in batches for image_id in batch.image_ids) == [1, 2, 4]
    messages = sorted(message for batch in batches for message in batch.corrupt)
    assert [Path(message.split(": ")[0]).name for message in messages] == ["2.png", "4.png"]
    assert "30 x 30 pixels, but annotated as 40 x 60" in messages[1]


def test_a_batch_of_unreadable_pictures_is_empty(tmp_path: Path) -> None:
    records = drawn_records(tmp_path, [(40, 60)] * 2)
    for path in records.paths:
        Path(str(path)).unlink()
    (batch,) = load(records, workers=0, augmentation="none", epoch=3)
    assert len(batch) == len(batch.targets) == 0
    assert batch.images.shape == (0, 3, 32, 48)
    assert batch.images.dtype == torch.uint8
    assert len(batch.corrupt) == 2
    assert batch.epoch == 3
    assert len(pickle.loads(pickle.dumps(batch))) == 0


@pytest.mark.parametrize("resize", ["keep_aspect", "square"])
def test_evaluation_gives_every_picture_once_and_whole(tmp_path: Path, resize: str) -> None:
    records = drawn_records(tmp_path, SIZES)
    data = config.Data.model_validate({"size": 32, "workers": 0, "resize": resize})
    batches = list(evaluation_loader(records, data, batch_size=3, multiple=8))
    assert sorted(image_id for batch in batches for image_id in batch.image_ids) == records.image_ids.tolist()
    for batch in batches:
        height, width = batch.images.shape[2:]
        for boxes, image_id, (picture_h, picture_w) in zip(
            batch.targets.boxes, batch.image_ids, batch.picture_hw, strict=True
        ):
            back = boxes.numpy() * ([picture_w / width, picture_h / height] * 2)
            record = records[image_id - 1]
            np.testing.assert_allclose(back, record.boxes.clip(0, (picture_w, picture_h) * 2), atol=1e-3)


def test_batches_travel(tmp_path: Path) -> None:
    (batch, *_) = load(drawn_records(tmp_path, SIZES), workers=0)
    assert_equal([pickle.loads(pickle.dumps(batch))], [batch])
    assert_equal([batch.to("cpu")], [batch])
    meta = batch.to(torch.device("meta"))
    assert meta.images.device.type == meta.targets.boxes[0].device.type == "meta"
    assert len(meta) == len(batch)


def test_a_batch_holds_one_file_descriptor_however_many_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the pictures go through shared memory; boxes and labels are pickled as arrays."""
    (batch, *_) = load(drawn_records(tmp_path, SIZES), workers=0)
    pickled: list[torch.Size] = []
    reduce = torch.Tensor.__reduce_ex__

    def spy(tensor: torch.Tensor, protocol: int) -> Any:
        pickled.append(tensor.shape)
        return reduce(tensor, protocol)  # type: ignore[no-untyped-call]

    monkeypatch.setattr(torch.Tensor, "__reduce_ex__", spy)
    pickle.dumps(batch)
    assert pickled == [batch.images.shape]


@pytest.mark.gpu
def test_pinned_memory(tmp_path: Path) -> None:
    (batch, *_) = load(drawn_records(tmp_path, SIZES), workers=0)
    pinned = batch.pin_memory()
    assert pinned.images.is_pinned()
    assert all(boxes.is_pinned() for boxes in pinned.targets.boxes)


def test_worker_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(20)), raising=False)
    assert worker_count(config.Data()) == 8
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0}, raising=False)
    assert worker_count(config.Data()) == 0
    assert worker_count(config.Data(workers=3)) == 3


def test_a_large_jpeg_gives_the_same_boxes_as_its_full_size(tmp_path: Path) -> None:
    canvas = np.zeros((800, 1200, 3), np.uint8)
    canvas[200:600, 300:700] = 255
    Image.fromarray(canvas).save(tmp_path / "x.jpg", quality=95)
    box = np.array([[300.0, 200, 700, 600]])
    image = ImageRecord(tmp_path / "x.jpg", 1, 800, 1200, box, np.zeros(1, np.int64), np.zeros(1, np.bool_), box[:, 0])
    records = Records.from_images("large", LabelSet(("a",), (1,)), [image])
    (batch,) = load(records, workers=0, size=80, augmentation="none")
    assert batch.images.shape == (1, 3, 80, 120)
    assert batch.targets.boxes[0].tolist() == [[30, 20, 70, 60]]
    ys, xs = torch.nonzero(batch.images[0, 0] > 127, as_tuple=True)
    assert [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1] == pytest.approx([30, 20, 70, 60], abs=1)
