"""Fixed views: the same few pictures in every epoch, the whole one and its mirror image among them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from dinotune import config
from dinotune.data.fixed_views import usual_views, whole_pictures
from dinotune.data.loader import Pictures, collate, evaluation_loader, training_loader
from dinotune.data.photometric import training_inputs
from dinotune.data.records import Records
from dinotune.data.sampler import every_view
from tests.data.small_sets import drawn_records

VIEWS, SEED = 4, 5
Seen = dict[tuple[int, int], Tensor]
"""What a model takes of a picture (by its id) in a view."""


def settings(**augmentation: object) -> config.Data:
    return config.Data.model_validate({"size": 32, "workers": 0, "augmentation": {"views": VIEWS, **augmentation}})


def seen_in_training(records: Records, data: config.Data, epochs: int = 12) -> Seen:
    """Checks that no view changes from epoch to epoch."""
    loader = training_loader(records, data, batch_size=3, multiple=8, seed=SEED, device_type="cpu")
    found: Seen = {}
    for epoch in range(epochs):
        loader.batch_sampler.set_epoch(epoch)  # type: ignore[union-attr]
        for batch in loader:
            inputs = training_inputs(batch, data.augmentation, SEED)
            assert isinstance(inputs, Tensor)
            assert batch.view is not None
            for image_id, image in zip(batch.image_ids, inputs, strict=True):
                before = found.setdefault((image_id, batch.view), image)
                assert torch.equal(before, image)
    return found


def test_pictures_are_seen_in_so_many_ways_and_no_more(tmp_path: Path) -> None:
    records = drawn_records(tmp_path, [(40, 60)] * 5 + [(60, 40)] * 4)
    found = seen_in_training(records, settings(crop=1, rotation=10))
    assert {view for _, view in found} == set(range(VIEWS))
    for image_id in records.image_ids.tolist():
        own = [image for (number, _), image in found.items() if number == image_id]
        assert all(a.shape != b.shape or not torch.equal(a, b) for i, a in enumerate(own) for b in own[:i])


def test_every_view_lists_exactly_what_training_shows(tmp_path: Path) -> None:
    records, data = drawn_records(tmp_path, [(40, 60)] * 3 + [(60, 40)] * 2), settings(rotation=20)
    pictures, listed = Pictures(records, data, training=True), {}
    for draw in every_view(records, data, multiple=8, seed=SEED):
        batch = collate([pictures[draw]])
        assert draw.view is not None
        inputs = training_inputs(batch, data.augmentation, SEED)
        assert isinstance(inputs, Tensor)
        listed[batch.image_ids[0], draw.view] = inputs[0]
    assert len(listed) == VIEWS * len(records)
    for key, image in seen_in_training(records, data).items():
        assert torch.equal(image, listed[key])


def test_the_first_two_views_are_the_whole_picture_and_its_mirror_image(tmp_path: Path) -> None:
    records, data = drawn_records(tmp_path, [(40, 60)]), settings()
    found = seen_in_training(records, data, epochs=40)
    plain = next(iter(evaluation_loader(records, data, batch_size=1, multiple=8))).images[0] / 255
    assert torch.equal(found[1, 0], plain)
    assert torch.equal(found[1, 1], plain.flip(2))


@pytest.mark.parametrize(
    ("augmentation", "whole"), [({}, 2), ({"flip": 0}, 1), ({"crop": 1}, 2), ({"crop": 1, "square_crops": True}, 0)]
)
def test_whole_pictures_are_seen_where_training_may_show_them(augmentation: dict[str, object], whole: int) -> None:
    assert whole_pictures(settings(**augmentation).augmentation) == whole


def test_other_pictures_do_not_change_a_view(tmp_path: Path) -> None:
    records = drawn_records(tmp_path, [(40, 60)] * 5)
    some = seen_in_training(records.select(np.array([1, 3])), settings())
    everything = seen_in_training(records, settings())
    shared = some.keys() & everything.keys()
    assert shared
    assert all(torch.equal(some[key], everything[key]) for key in shared)


@pytest.mark.parametrize(
    ("changes", "views"),
    [({}, 1), ({"flip": 0.5}, 2), ({"flip_vertical": 0.5}, 8), ({"flip": 0.5, "photometric": 0.1}, 8)],
)
def test_as_many_views_are_usual_as_can_differ(changes: dict[str, float], views: int) -> None:
    unchanged = config.Augmentation.expand("none")
    assert usual_views(config.Augmentation.model_validate({**unchanged, **changes})) == views
    assert usual_views(config.Augmentation()) == 8
