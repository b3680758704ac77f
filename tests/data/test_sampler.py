"""Batch samplers: everything once, one size per batch, and exactly repeatable."""

from typing import Any

import numpy as np
import pytest

from dinotune import config
from dinotune.data.buckets import MOST_STRETCH
from dinotune.data.records import LabelSet, Records
from dinotune.data.sampler import Draw, EvaluationBatchSampler, TrainBatchSampler
from tests.data.small_sets import stretch

SIZES = [(480, 640)] * 13 + [(640, 480)] * 6 + [(500, 500)] * 4 + [(100, 900)] * 2 + [(481, 640)] * 4


def records(labels_shown: dict[int, list[int]] | None = None) -> Records:
    """Sizes alone, or with the labels that pictures show."""
    count = len(SIZES)
    labels = [(labels_shown or {}).get(i, []) for i in range(count)]
    boxes = sum(len(shown) for shown in labels)
    return Records(
        name="sizes only",
        labels=LabelSet(("a", "b"), (1, 2)),
        paths=np.array([f"{i}.jpg" for i in range(count)]),
        image_ids=np.arange(count),
        sizes_hw=np.array(SIZES),
        offsets=np.cumsum([0, *(len(shown) for shown in labels)]),
        boxes=np.tile([0.0, 0, 9, 9], (boxes, 1)),
        box_labels=np.array([label for shown in labels for label in shown], np.int64),
        crowd=np.zeros(boxes, np.bool_),
        areas=np.full(boxes, 81.0),
    )


def sampler(seed: int = 0, batch_size: int = 4, **settings: Any) -> TrainBatchSampler:
    data = config.Data.model_validate({"size": 320} | settings)
    return TrainBatchSampler(records(), data, batch_size=batch_size, multiple=16, seed=seed)


def epoch(batches: TrainBatchSampler, number: int, start: int = 0) -> list[list[Draw]]:
    batches.set_epoch(number, start)
    return list(batches)


@pytest.mark.parametrize("settings", [{}, {"resize": "square"}, {"augmentation": "none"}])
@pytest.mark.parametrize("batch_size", [1, 4, 50])
def test_every_picture_once_per_epoch(settings: dict[str, Any], batch_size: int) -> None:
    batches = sampler(batch_size=batch_size, **settings)
    for number in range(3):
        drawn = epoch(batches, number)
        assert len(drawn) == len(batches)
        assert sorted(draw.picture for batch in drawn for draw in batch) == list(range(len(SIZES)))
        assert all(len(batch) <= batch_size for batch in drawn)
        assert [{draw.batch for draw in batch} for batch in drawn] == [{i} for i in range(len(drawn))]
        assert {draw.epoch for batch in drawn for draw in batch} == {number}


def test_batches_have_one_size_that_stretches_little() -> None:
    batches = sampler()
    for batch in (batch for number in range(10) for batch in epoch(batches, number)):
        ((height, width),) = {(draw.height, draw.width) for draw in batch}
        assert height % 16 == width % 16 == 0
        shapes = {SIZES[draw.picture] for draw in batch} - {(100, 900)}  # its short side rounds up by more
        assert all(stretch(shape, (height, width)) <= MOST_STRETCH for shape in shapes)


def test_scale_is_drawn_per_batch_and_covers_the_range() -> None:
    batches = sampler(augmentation={"scale_jitter": [0.8, 1.2]}, resize="square")
    sides = {batch[0].height for number in range(10) for batch in epoch(batches, number)}
    assert sides == {256, 288, 320, 352, 384}
    assert {batch[0].height for batch in epoch(sampler(augmentation="none", resize="square"), 0)} == {320}


def test_sizes_are_drawn_per_batch_with_even_chances() -> None:
    sizes = [256, 320, 384, 448]
    batches = sampler(augmentation={"sizes": sizes}, resize="square")
    sides = [batch[0].height for number in range(60) for batch in epoch(batches, number)]
    assert {side: sides.count(side) / len(sides) for side in sizes} == pytest.approx(
        dict.fromkeys(sizes, 0.25), abs=0.06
    )
    assert set(sides) == set(sizes)


def test_evaluation_keeps_the_size_where_training_draws_others() -> None:
    data = config.Data.model_validate({"size": 320, "resize": "square", "augmentation": "detr"})
    batches = EvaluationBatchSampler(records(), data, batch_size=4, multiple=16)
    assert {(draw.height, draw.width) for batch in batches for draw in batch} == {(320, 320)}


def test_runs_begun_before_are_gone_on_with() -> None:
    """The draws of seed, epoch and batch number, written down once: a change would break runs that are resumed."""
    drawn = epoch(sampler(seed=7), 3)
    assert [[draw.picture for draw in batch] for batch in drawn[:3]] == [[19, 20, 22, 21], [4], [15, 18]]
    assert [(batch[0].height, batch[0].width) for batch in drawn[:3]] == [(288, 288), (320, 432), (480, 352)]


RARE = {0: [0], 1: [0], 2: [0], 3: [0, 1], 13: [0], 14: [0], 20: [1, 1], 21: [0], 25: [0]}
"""Class 1 is in 2 of 29 pictures: with a threshold of 0.5 they have the factor 2.69. 8 show class 0: factor 1.35."""


def repeating(batch_size: int = 3, seed: int = 0, threshold: float = 0.5) -> TrainBatchSampler:
    data = config.Data(size=320, repeat_rare=threshold)
    return TrainBatchSampler(records(RARE), data, batch_size=batch_size, multiple=16, seed=seed)


def test_rare_classes_come_again_and_epochs_stay_equally_long() -> None:
    batches = repeating()
    times = np.zeros(len(SIZES))
    for number in range(200):
        drawn = epoch(batches, number)
        assert len(drawn) == len(batches)
        assert all(len({(draw.height, draw.width) for draw in batch}) == 1 for batch in drawn)
        shown = [(draw.picture, draw.repeat) for batch in drawn for draw in batch]
        assert len(set(shown)) == len(shown), "no view twice"
        counts = np.bincount([picture for picture, _ in shown], minlength=len(SIZES))
        assert counts.min() == 1, "nothing is left out"
        assert all((picture, repeat) in shown for picture, count in enumerate(counts) for repeat in range(count))
        times += counts
    mean = times / 200
    assert (mean[[i for i in range(len(SIZES)) if i not in RARE]] == 1).all()
    # The bucket of 20 and 21 has room for round(1.69 + 0.35) = 2 repeats, which they share in proportion.
    assert mean[20] == pytest.approx(1 + 2 * 1.6926 / 2.0394, abs=0.06)
    assert mean[21] == pytest.approx(1 + 2 * 0.3468 / 2.0394, abs=0.06)
    assert mean[3] > mean[0] > 1


@pytest.mark.parametrize("start", [1, 4, 9])
def test_the_rest_of_an_epoch_with_repeats_is_what_would_have_followed(start: int) -> None:
    whole = epoch(repeating(), 5)
    assert epoch(repeating(), 5, start) == whole[start:]
    assert epoch(repeating(), 6) != whole
    assert epoch(repeating(seed=1), 5) != whole


def test_no_rare_class_changes_nothing() -> None:
    assert epoch(repeating(threshold=1e-6), 2) == epoch(repeating(threshold=0), 2)


def test_epochs_and_seeds_differ_and_repeat() -> None:
    first = epoch(sampler(), 0)
    assert first == epoch(sampler(), 0)
    assert first != epoch(sampler(), 1)
    assert first != epoch(sampler(seed=1), 0)
    pairs = [{draw.picture for draw in batch} for batch in first if len(batch) == 4]
    again = [{draw.picture for draw in batch} for batch in epoch(sampler(), 1) if len(batch) == 4]
    assert pairs != again, "pictures meet others in another epoch"


def test_incomplete_batches_are_not_always_last() -> None:
    batches = sampler()
    assert any(len(epoch(batches, number)[-1]) == 4 for number in range(10))


@pytest.mark.parametrize("start", [0, 1, 5, 8])
def test_the_rest_of_an_epoch_is_what_would_have_followed(start: int) -> None:
    whole = epoch(sampler(), 2)
    resumed = sampler()
    assert epoch(resumed, 2, start) == whole[start:]
    assert len(resumed) == len(whole), "schedules count whole epochs"
    assert epoch(resumed, 3) == epoch(sampler(), 3), "the next epoch starts at its beginning"


def test_global_generators_play_no_part() -> None:
    np.random.seed(0)
    first = epoch(sampler(), 0)
    np.random.seed(1)
    assert epoch(sampler(), 0) == first


def test_evaluation_gives_every_picture_once_in_order() -> None:
    batches = EvaluationBatchSampler(records(), config.Data(size=320), batch_size=4, multiple=16)
    drawn = list(batches)
    assert len(batches) == len(drawn)
    assert sorted(draw.picture for batch in drawn for draw in batch) == list(range(len(SIZES)))
    assert all(len({(draw.height, draw.width) for draw in batch}) == 1 for batch in drawn)
    by_size: dict[tuple[int, int], list[int]] = {}
    for draw in (draw for batch in drawn for draw in batch):
        by_size.setdefault((draw.height, draw.width), []).append(draw.picture)
    assert all(pictures == sorted(pictures) for pictures in by_size.values())
    assert list(batches) == drawn


def test_square_crops_put_all_pictures_into_one_bucket_and_are_measured_whole() -> None:
    augmentation = config.Augmentation(square_crops=True, crop=1.0, scale_jitter=(0.5, 1.0))
    data = config.Data(size=512, augmentation=augmentation)
    squares = TrainBatchSampler(records(), data, batch_size=4, multiple=16, seed=0)
    batches = list(squares)
    assert len(batches) == -(-len(SIZES) // 4), "one bucket for all"
    assert sorted(draw.picture for batch in batches for draw in batch) == list(range(len(SIZES)))
    sizes = set()
    for epoch in range(4):
        squares.set_epoch(epoch)
        sizes |= {(batch[0].height, batch[0].width) for batch in squares}
    assert sizes == {(side, side) for side in (256, 320, 384, 448, 512)}
    whole = EvaluationBatchSampler(records(), data, batch_size=4, multiple=16)
    assert any(draw.height != draw.width for batch in whole for draw in batch)


def test_square_crops_of_pictures_that_are_not_cropped_are_refused() -> None:
    with pytest.raises(ValueError, match="set crop to 1"):
        config.Augmentation(square_crops=True, crop=0.5)
