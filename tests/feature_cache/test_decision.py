"""Whether a run gets a cache, and what is said about it."""

from dataclasses import replace
from pathlib import Path

import pytest

from dinotune import config
from dinotune.errors import SettingsError
from dinotune.feature_cache.caches import fill_store
from dinotune.feature_cache.decision import Decision, decide
from dinotune.feature_cache.run import CachedRun
from dinotune.training.caching import as_cached
from dinotune.training.preparation import prepare
from tests.feature_cache.cached_runs import CUTS, Listener, experiment
from tests.training.small_runs import changed


def run_of(wanted: config.Experiment) -> CachedRun:
    plain = as_cached(prepare(changed(wanted, "feature_cache.mode=off", "training.minutes=none"), check=False))
    return replace(plain, experiment=wanted)


def decided(wanted: config.Experiment) -> Decision:
    return decide(run_of(wanted))


def test_off_says_what_a_cache_would_save(shapes: Path) -> None:
    found = decided(experiment(shapes, "faster_rcnn"))
    assert found.experiment.feature_cache.mode == "off"
    assert "runs in each of 9 epochs, with feature_cache=on once for each of 3 views" in found.lines[0]
    assert decided(experiment(shapes, "faster_rcnn", {"backbone.trainable": "all"})).lines == ()


@pytest.mark.parametrize(
    ("augmentation", "views"),
    [
        ("{crop: 0.5}", 8),
        ("none", 1),
        ("{views: 3}", 3),
        ("{photometric: 0}", 8),
        ("{crop: 0, photometric: 0, scale_jitter: [1, 1]}", 2),
    ],
)
def test_on_takes_a_limited_number_of_views(shapes: Path, augmentation: str, views: int) -> None:
    plain = experiment(shapes, "faster_rcnn")
    free = config.Experiment.model_validate(
        {**plain.model_dump(), "data": {"root": str(shapes), "size": 64, "workers": 0}}
    )
    found = decided(changed(free, "feature_cache=on", f"data.augmentation={augmentation}"))
    assert found.experiment.data.augmentation.views == views
    assert f"data.augmentation.views: {views}" in found.lines[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("backbone.trainable=all", "backbone.trainable: the patch embedding learns, so nothing is frozen"),
        ("backbone.trainable=4", "backbone.trainable: something learns in the first block already"),
        ("adapter={kind: lora, blocks: 4}", "adapter.blocks: something learns in the first block already"),
        ("adapter=norm_bias", "adapter.blocks: something learns in the first block already"),
        ("training.minutes=3", "training.minutes: steps are timed without a cache"),
    ],
)
def test_what_leaves_nothing_to_keep_is_refused_by_name(shapes: Path, change: str, message: str) -> None:
    wanted = experiment(shapes, "faster_rcnn")
    with pytest.raises(SettingsError, match=message):
        decided(changed(wanted, change, "feature_cache=on"))
    found = decided(changed(wanted, change, "feature_cache=auto"))
    assert found.experiment.feature_cache.mode == "off"
    assert message in found.lines[0]


@pytest.mark.parametrize("cut", CUTS)
def test_every_cut_can_be_kept(shapes: Path, cut: str) -> None:
    wanted = experiment(shapes, "faster_rcnn", CUTS[cut])
    assert decided(changed(wanted, "feature_cache=on")).experiment.feature_cache.mode == "on"


@pytest.mark.parametrize(("epochs", "mode"), [(2, "off"), (3, "off"), (5, "on")])
def test_auto_takes_one_where_it_pays(shapes: Path, epochs: int, mode: str) -> None:
    wanted = changed(experiment(shapes, "faster_rcnn"), f"training.epochs={epochs}", "feature_cache=auto")
    found = decided(changed(wanted, f"training.validate_every={epochs}"))
    assert found.experiment.feature_cache.mode == mode
    said = "times fewer pictures" if mode == "on" else f"{epochs} epochs are too few for 3 views of each picture"
    assert said in found.lines[0]


def test_auto_stays_off_where_there_is_no_room(shapes: Path) -> None:
    wanted = changed(experiment(shapes, "faster_rcnn"), "feature_cache={mode: auto, max_gb: 1e-6}")
    found = decided(wanted)
    assert found.experiment == changed(wanted, "feature_cache.mode=off")
    assert "feature_cache.max_gb: the features of" in found.lines[0]


def test_on_is_refused_before_a_run_folder_is_made(shapes: Path) -> None:
    wanted = changed(experiment(shapes, "faster_rcnn"), "feature_cache={mode: on, max_gb: 1e-6}")
    with pytest.raises(SettingsError, match=r"feature_cache\.max_gb"):
        decided(wanted)


@pytest.mark.parametrize(
    ("stages", "epoch"),
    [
        ("[{blocks: 2, from_epoch: 4}]", 4),
        ("[{blocks: 1}, {blocks: 3, from_epoch: 2}]", 2),
        ("[{blocks: 2}, {blocks: 1, from_epoch: 2}]", None),
        ("[{blocks: 2, from_epoch: 40}]", None),
        ("none", None),
    ],
)
def test_features_end_where_the_cut_moves(shapes: Path, stages: str, epoch: int | None) -> None:
    wanted = experiment(shapes, "faster_rcnn", {"backbone.trainable": stages})
    run = run_of(wanted)
    place = run.model.backbone.cut_place
    assert run.live_from == epoch
    assert run.model.backbone.cut_place == place


def test_what_is_kept_already_needs_neither_room_nor_time(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = changed(
        experiment(shapes, "faster_rcnn", {"training.epochs": "1"}), f"feature_cache={{mode: auto, folder: {tmp_path}}}"
    )
    assert decided(wanted).experiment.feature_cache.mode == "off"
    run = run_of(wanted)
    for training in run.kinds:
        fill_store(run, Listener(), training=training)
    monkeypatch.setattr("dinotune.feature_cache.room.free_bytes", lambda _: 0)
    assert decided(wanted).experiment.feature_cache.mode == "on"
    assert decided(changed(wanted, "feature_cache.mode=on")).experiment.feature_cache.mode == "on"
