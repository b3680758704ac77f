"""What a cache does when something goes wrong: killed, full disk, other files, cut short, two at once."""

import errno
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dinotune import config
from dinotune.data.loader import Pictures, collate
from dinotune.errors import DinotuneError, SettingsError
from dinotune.feature_cache import gathering
from dinotune.feature_cache.caches import fill_store
from dinotune.feature_cache.filling import Filler
from dinotune.feature_cache.run import CachedRun
from dinotune.feature_cache.shards import Shard
from dinotune.feature_cache.store import Store, key_of
from dinotune.feature_cache.watcher import StoppedError
from tests.feature_cache.cached_runs import Listener, cached, experiment, with_cache
from tests.mask_folders import draw_mask_folder

VIEWS = 3 * 6
"""Of the training pictures."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return draw_mask_folder(tmp_path / "scenes", train=6, val=2)


@pytest.fixture
def wanted(data: Path, tmp_path: Path) -> config.Experiment:
    return with_cache(experiment(data, "linear_segmenter"), tmp_path / "cache")


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shard per batch."""
    monkeypatch.setattr(gathering, "SHARD_BYTES", 1)


def filled(wanted: config.Experiment, batches: int = 10**9) -> tuple[Store, Listener]:
    listener = Listener(batches)
    return fill_store(cached(wanted), listener, training=True), listener


def shards(wanted: config.Experiment) -> list[Path]:
    assert wanted.feature_cache.folder is not None
    return sorted(wanted.feature_cache.folder.rglob("*.safetensors"), key=lambda path: path.stat().st_mtime_ns)


def test_size_room_and_time_are_told_before_anything_is_written(wanted: config.Experiment) -> None:
    _, listener = filled(wanted)
    assert listener.lines[0].startswith(f"feature cache: {VIEWS} views of scenes train to compute: ")
    for word in ("MB in", "free)", "about 1 s"):
        assert word in listener.lines[0]


@pytest.mark.usefixtures("small_shards")
def test_a_stop_keeps_what_was_computed(wanted: config.Experiment) -> None:
    with pytest.raises(StoppedError):
        filled(wanted, batches=3)
    kept = len(shards(wanted))
    assert kept > 0
    store, listener = filled(wanted)
    assert len(store) == VIEWS
    assert "are there" in listener.lines[0]
    assert f"{VIEWS} views" not in listener.lines[0]


def _fill_and_die(wanted: config.Experiment, batches: int) -> None:
    gathering.SHARD_BYTES = 1

    class Killer(Listener):
        def advance(self) -> None:
            super().advance()
            if self.done == batches:
                os.kill(os.getpid(), signal.SIGKILL)

    fill_store(cached(wanted), Killer(), training=True)


def test_a_killed_process_loses_little_and_blocks_nobody(wanted: config.Experiment) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_fill_and_die, args=(wanted, 3))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    store, listener = filled(wanted)
    assert len(store) == VIEWS
    assert "are there" in listener.lines[0]


def test_unfinished_files_are_removed(wanted: config.Experiment) -> None:
    store, _ = filled(wanted)
    left = store.folder / ".half.safetensors.1.tmp"
    left.write_bytes(b"half")
    filled(wanted)
    assert not left.exists()


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB."""
    folder = tmp_path / "full"
    folder.mkdir()
    mount = shutil.which("mount")
    if (
        mount is None
        or subprocess.run([mount, "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], check=False).returncode
    ):
        pytest.skip("no right to mount a small disk here")
    yield folder
    subprocess.run(["umount", folder], check=True)


class Glutton(Listener):
    """Takes all but 20 KB of a disk after two batches."""

    def __init__(self, disk: Path) -> None:
        super().__init__()
        self.disk = disk

    def advance(self) -> None:
        super().advance()
        if self.done == 2:
            free = shutil.disk_usage(self.disk).free
            (self.disk / "ballast").write_bytes(bytes(free - 20_000))


@pytest.mark.usefixtures("small_shards")
def test_a_full_disk_is_named_and_what_fits_is_kept(wanted: config.Experiment, full_disk: Path) -> None:
    there = with_cache(wanted, full_disk)
    with pytest.raises(DinotuneError, match=r"no room left on the disk; \d+ views? are kept and \d+ are missing"):
        fill_store(cached(there), Glutton(full_disk), training=True)
    assert not list(full_disk.rglob("*.tmp"))
    kept = sum(len(Shard.open(path).keys) for path in shards(there))
    assert 0 < kept < VIEWS
    (full_disk / "ballast").unlink()
    store, listener = filled(there)
    assert len(store) == VIEWS
    assert f"{VIEWS - kept} views of scenes train to compute, {kept} are there" in listener.lines[0]


def test_no_room_is_refused_before_writing(wanted: config.Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        SettingsError, match=r"feature_cache.max_gb: the features of scenes train take .* more than 1e-06 GB"
    ):
        filled(with_cache(wanted, wanted.feature_cache.folder or Path(), max_gb=1e-6))
    monkeypatch.setattr("dinotune.feature_cache.room.free_bytes", lambda _: 1000)
    with pytest.raises(DinotuneError, match=r"name another disk with feature_cache\.folder"):
        filled(wanted)
    assert not shards(wanted)


def test_an_edited_picture_is_computed_anew(wanted: config.Experiment, data: Path) -> None:
    before, _ = filled(wanted)
    features = {key: before.read([key])[0].taps[3].clone() for key in before.keys}
    path = data / "images/train/2.png"
    picture = np.asarray(Image.open(path))
    Image.fromarray(255 - picture).save(path)
    after, listener = filled(wanted)
    assert listener.lines[0] == "feature cache: 1 picture changed since their features were kept"
    assert listener.lines[1].startswith("feature cache: 3 views of scenes train to compute, 15 are there")
    changed = {key.image_id for key in after.keys if not (after.read([key])[0].taps[3] == features[key]).all()}
    assert changed == {3}


def test_a_touched_picture_is_not(wanted: config.Experiment, data: Path) -> None:
    filled(wanted)
    for path in (data / "images/train").iterdir():
        os.utime(path, (time.time(), time.time() + 100))
    assert filled(wanted)[1].lines == []


def test_pictures_of_one_size_and_time_are_told_apart(wanted: config.Experiment, data: Path) -> None:
    """Bitmaps out of an archive; with one gone, the others move up by an id."""
    for folder in ("images", "masks"):
        for path in sorted((data / folder / "train").iterdir()):
            picture = Image.open(path).crop((0, 0, 64, 64))
            if folder == "images":
                picture.save(path.with_suffix(".bmp"))
                path.unlink()
            else:
                picture.save(path)
    for path in data.rglob("*.*"):
        os.utime(path, (1e9, 1e9))
    filled(wanted)
    for path in (data / "images/train/1.bmp", data / "masks/train/1.png"):
        path.unlink()
    store, listener = filled(wanted)
    assert listener.lines[0] == "feature cache: 4 pictures changed since their features were kept"
    assert len(store) == VIEWS - 3


@pytest.mark.usefixtures("small_shards")
def test_features_of_edited_pictures_take_no_room(wanted: config.Experiment, data: Path) -> None:
    before, _ = filled(wanted)
    for path in (data / "images/train").iterdir():
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    after, _ = filled(wanted)
    assert after.bytes == pytest.approx(before.bytes, rel=0.01)


def test_a_shard_that_cannot_be_read_now_is_left_alone(
    wanted: config.Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(wanted)

    def full(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("dinotune.feature_cache.shards.safe_open", full)
    with pytest.raises(OSError, match="Too many open files"):
        filled(wanted)
    assert shards(wanted)


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_store_in_use_outlives_its_files(wanted: config.Experiment, in_memory: bool) -> None:
    store, _ = filled(wanted)
    expected = {key: store.read([key])[0].taps[3].clone() for key in store.keys}
    again = cached(wanted).store(training=True)
    again.open(cached(wanted).train)
    again.hold(in_memory=in_memory)
    shutil.rmtree(store.folder)
    assert all(torch.equal(again.read([key])[0].taps[3], tap) for key, tap in expected.items())


def test_edited_labels_are_taken_up(wanted: config.Experiment, data: Path) -> None:
    filled(wanted)
    path = data / "masks/train/2.png"
    mask = np.asarray(Image.open(path)).copy()
    mask[10:30] = 3
    Image.fromarray(mask).save(path)
    store, listener = filled(wanted)
    assert "1 picture changed" in listener.lines[0]
    found = store.read([next(key for key in store.keys if key.image_id == 3)])[1].class_maps
    assert found is not None
    assert (found[0, 12:25] == 1).float().mean() > 0.9


def test_data_sets_in_folders_of_one_name_take_no_room_from_each_other(
    wanted: config.Experiment, data: Path, tmp_path: Path
) -> None:
    folder, copy = cached(wanted).store(training=True).folder, tmp_path / "elsewhere/scenes"
    shutil.copytree(data, copy)
    there = wanted.model_copy(update={"data": wanted.data.model_copy(update={"root": copy})})
    assert cached(there).store(training=True).folder == folder, "a copy is the same data"
    classes = copy / "classes.yaml"
    classes.write_text(classes.read_text().replace("disc", "ball"))
    assert cached(there).store(training=True).folder != folder


def test_other_weights_and_settings_make_another_cache(wanted: config.Experiment) -> None:
    first, _ = filled(wanted)
    for change in ({"seed": 1}, {"backbone": {**wanted.backbone.model_dump(), "blocks": [0, 3]}}):
        other = config.Experiment.model_validate({**wanted.model_dump(), **change})
        assert cached(other).store(training=True).folder != first.folder
    same = config.Experiment.model_validate(
        {**wanted.model_dump(), "training": {**wanted.training.model_dump(), "epochs": 2}}
    )
    assert cached(same).store(training=True).folder == first.folder


def test_bfloat16_keeps_the_direction_of_features(data: Path, tmp_path: Path) -> None:
    run = cached(with_cache(experiment(data, "linear_segmenter"), tmp_path / "cache", storage="bf16"))
    store, filler = fill_store(run, Listener(), training=True), Filler(run, training=True)
    pictures = Pictures(run.train, run.experiment.data, training=True)
    for draw in run.draws(training=True):
        kept = store.read([key_of(draw, run.train)])[0].tensors
        for name, tokens in filler.cut_of(collate([pictures[draw]])).tensors.items():
            assert kept[name].dtype == torch.bfloat16
            assert torch.cosine_similarity(kept[name].double(), tokens.double(), dim=-1).min() > 0.9999


def test_a_foreign_cache_is_refused(wanted: config.Experiment) -> None:
    store, _ = filled(wanted)
    identity = json.loads((store.folder / "identity.json").read_text())
    (store.folder / "identity.json").write_text(json.dumps({**identity, "weights": "0" * 32}))
    with pytest.raises(DinotuneError, match=r"holds features of something else \(other weights\)"):
        filled(wanted)


def test_features_of_something_else_are_noticed_though_they_bear_the_right_name(
    wanted: config.Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _ = filled(wanted)
    other = config.Experiment.model_validate({**wanted.model_dump(), "seed": 1})
    foreign = cached(other)
    monkeypatch.setattr(CachedRun, "store", lambda *_, **__: Store(store.folder, store.identity))
    with pytest.raises(DinotuneError, match="are not those that the backbone gives now"):
        fill_store(foreign, Listener(), training=True)


@pytest.mark.usefixtures("small_shards")
def test_a_shard_that_is_cut_short_is_named_and_made_anew(wanted: config.Experiment) -> None:
    filled(wanted)
    victim = shards(wanted)[1]
    victim.write_bytes(victim.read_bytes()[:-100])
    store, listener = filled(wanted)
    assert str(victim) in listener.lines[0]
    assert "no whole file of features" in listener.lines[0]
    assert len(store) == VIEWS


def _fill(wanted: config.Experiment, folder: Path, number: int) -> None:
    _, listener = filled(wanted)
    (folder / f"{number}.txt").write_text("\n".join(listener.lines))


def test_two_processes_take_turns(wanted: config.Experiment, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_fill, args=(wanted, tmp_path, number)) for number in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    said = [(tmp_path / f"{number}.txt").read_text() for number in range(2)]
    assert sum("to compute" in text for text in said) == 1
    store, listener = filled(wanted)
    assert len(store) == VIEWS
    assert listener.lines == []
    assert sum(len(shard.keys) for shard in store.shards) == VIEWS


def test_a_process_waits_for_another_and_can_be_stopped(wanted: config.Experiment) -> None:
    store = cached(wanted).store(training=True)
    store.make_folder()
    with store.locked(Listener()):
        impatient = Listener(batches=0)
        with pytest.raises(StoppedError):
            fill_store(cached(wanted), impatient, training=True)
    assert "another process computes these features; waiting for it" in impatient.lines[0]


def test_pictures_that_cannot_be_read_are_left_out(wanted: config.Experiment, data: Path) -> None:
    path = data / "images/train/1.png"
    path.write_bytes(path.read_bytes()[:200])
    ready, listener = cached(wanted), Listener()
    store = fill_store(ready, listener, training=True)
    assert sum("left out" in line and "1.png" in line for line in listener.lines) == 1
    assert len(store) == VIEWS - 3
    assert {key.image_id for key in store.keys} == {1, 3, 4, 5, 6}
