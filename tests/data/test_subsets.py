"""Subsets: drawn, written, loaded again to the same records, and refused where they mean other pictures."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dinotune import api, config
from dinotune.data.records import Records
from dinotune.data.splits import read_records
from dinotune.data.subsets import choose, pictures_fingerprint, write_subset
from dinotune.errors import DataError, SettingsError
from tests.class_folders import draw_class_folders
from tests.data.small_sets import drawn_records, write_coco_set, write_voc_set
from tests.training.small_runs import changed


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """30 training pictures, of which every third is empty; none for validation."""
    objects = {f"{i:02}": [("cat", (1, 1, 9, 9))] * min(i % 3, 1) for i in range(30)}
    write_voc_set(tmp_path / "set", objects, {"train": list(objects)})
    return tmp_path / "set"


def read(root: Path, split: str = "train", seed: int = 0, **settings: Any) -> Records:
    return read_records(config.Data.model_validate({"root": root, split: settings}), split, seed=seed)


def test_share_draws_among_all_pictures_with_the_seed(root: Path) -> None:
    whole = read(root)
    half = read(root, share=0.5)
    assert len(half) == 12
    assert half.notes[-1] == "share 0.5: 12 of 24 pictures used, drawn among all (seed 0)"
    assert set(half.image_ids) < set(whole.image_ids)
    assert (np.diff(half.image_ids) > 0).all(), "in listed order"
    assert (np.diff(half.offsets) == 0).any(), "empty pictures too"
    assert read(root, share=0.5).fingerprint() == half.fingerprint()
    assert read(root, share=0.5, seed=1).fingerprint() != half.fingerprint()
    assert len(read(root, share=1e-6)) == 1
    assert read(root, share=1.0).fingerprint() == whole.fingerprint()
    assert set(read(root, share=0.25).image_ids) < set(half.image_ids), "a smaller share lies within a larger one"


def classes_of(records: Records) -> list[int]:
    assert records.image_labels is not None
    return [int((records.image_labels == label).sum()) for label in range(len(records.labels))]


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """9 pictures of blue, 9 of green, 2 of red."""
    root = draw_class_folders(tmp_path / "classes", train=9, val=2)
    for number in range(2, 9):
        (root / "train/red" / f"{number}.png").unlink()
    return root


@pytest.mark.parametrize(
    ("limit", "wanted"), [(1, [0, 0, 1]), (3, [1, 1, 1]), (6, [2, 2, 2]), (8, [3, 3, 2]), (99, [9, 9, 2])]
)
def test_limit_is_even_over_classes_of_pictures(folders: Path, limit: int, wanted: list[int]) -> None:
    for seed in range(5):
        found = classes_of(read(folders, limit=limit, seed=seed))
        assert sorted(found) == sorted(wanted) if limit == 1 else found == wanted


def test_limit_for_classes_draws_by_seed_and_id_alone(folders: Path) -> None:
    drawn = read(folders, limit=6)
    assert drawn.notes[-1] == "limit 6: 6 of 20 pictures used, drawn evenly among 3 classes (seed 0)"
    assert read(folders, limit=6).fingerprint() == drawn.fingerprint()
    assert len({read(folders, limit=6, seed=seed).fingerprint() for seed in range(5)}) > 1
    assert set(read(folders, limit=3).image_ids) < set(drawn.image_ids), "fewer are among more"
    whole = read(folders)
    kept = np.flatnonzero(~np.isin(whole.image_ids, np.setdiff1d(whole.image_ids, drawn.image_ids)[:7]))
    again = choose(whole.select(kept), config.Split(limit=6), dataset=whole, key="data.train", seed=0)
    assert again.image_ids.tolist() == drawn.image_ids.tolist(), "whatever other pictures there are"


def test_drawing_leaves_the_global_generator_alone(root: Path) -> None:
    np.random.seed(1)
    before = np.random.get_state()[1].copy()  # type: ignore[index]
    read(root, share=0.5)
    assert (np.random.get_state()[1] == before).all()  # type: ignore[index]


def test_limit_draws_among_all_where_nothing_is_annotated(tmp_path: Path) -> None:
    write_coco_set(tmp_path, split="test2017", folder="images/test2017", annotations=[])
    records = read(tmp_path, "test", limit=1)
    assert len(records) == 1
    assert records.notes[-1] == "limit 1: 1 of 2 pictures used, drawn among all, for none has boxes (seed 0)"


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("settings", [{"limit": 3}, {"share": 0.4}])
def test_a_written_subset_loads_again_to_the_same_records(root: Path, split: str, settings: dict[str, Any]) -> None:
    """Also where validation pictures are held out."""
    drawn = read(root, split, seed=4, **settings)
    file = root / "subsets" / f"{split}.json"
    write_subset(file, drawn, split, 4)
    content = json.loads(file.read_text())
    assert content | {"dataset": ""} == {
        "dataset": "",
        "split": split,
        "seed": 4,
        "image_ids": drawn.image_ids.tolist(),
    }
    again = read(root, split, seed=4, subset=file)
    assert again.fingerprint() == drawn.fingerprint()
    assert again.paths.tolist() == drawn.paths.tolist()
    assert again.subset_of == drawn.subset_of
    assert again.notes[-1].startswith(f"subset {file}: {len(drawn)} of ")


def test_nothing_is_written_where_all_pictures_are_used(root: Path, tmp_path: Path) -> None:
    write_subset(tmp_path / "train.json", read(root), "train", 0)
    assert not (tmp_path / "train.json").exists()


def test_the_fingerprint_follows_pictures_alone(tmp_path: Path) -> None:
    records = drawn_records(tmp_path, [(8, 8)] * 3)
    turned = records.select(np.array([2, 0, 1]))
    relabelled = replace(records, box_labels=1 - records.box_labels, boxes=records.boxes + 1)
    moved = replace(records, paths=np.array([f"/elsewhere/{Path(path).name}" for path in records.paths]))
    assert {pictures_fingerprint(same) for same in (turned, relabelled, moved)} == {pictures_fingerprint(records)}
    renamed = replace(records, paths=np.array(["a.png", "b.png", "c.png"]))
    renumbered = replace(records, image_ids=records.image_ids + 1)
    resized = replace(records, sizes_hw=records.sizes_hw + 1)
    others = [
        pictures_fingerprint(other) for other in (records, renamed, renumbered, resized, records.select(np.arange(2)))
    ]
    assert len(set(others)) == 5


def write_both_splits(root: Path) -> Path:
    write_coco_set(root)
    write_coco_set(root, split="val2017", folder="images/val2017")
    return root


def test_indices_are_positions_in_the_annotation_file(tmp_path: Path) -> None:
    write_both_splits(tmp_path)
    file = tmp_path / "indices.json"
    file.write_text(json.dumps({"dataset_size": 2, "mini_size": 1, "random_seed": 42, "indices": [1]}))
    assert read(tmp_path, subset=file).image_ids.tolist() == [3], "the second of 7, 3"


def subset(root: Path, **changes: Any) -> dict[str, Any]:
    return {"dataset": pictures_fingerprint(read(root)), "split": "train", "seed": 0, "image_ids": [7]} | changes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": "abcdef0123456789"}, r"fingerprint abcdef012345, but set train has [0-9a-f]{12}; name its data set"),
        ({"image_ids": [3, 7, 999]}, r"one.json: 1 of 3 pictures are not in set train \(ids 999\)"),
        ({"image_ids": list(range(100, 110))}, r"10 of 10 pictures are not in set train \(ids 100, 101, 102, …\)"),
        ({"image_ids": []}, "no subset of a data set; it needs `dataset` and a list `image_ids`"),
        ({"image_ids": ["7"]}, "no subset of a data set"),
        ({"image_ids": [True]}, "no subset of a data set"),
        ({"image_ids": [2**70]}, "no subset of a data set"),
        ({"image_ids": 7}, "no subset of a data set"),
        ({"dataset_size": 118287, "indices": [0]}, "a data set of 118287 pictures, but set train has 2; name its annotation"),
        ({"dataset_size": 2, "indices": [0, 2]}, "indices from 0 to 2; they go from 0 to 1"),
        ({"dataset_size": 2, "indices": [-1]}, "indices from -1 to -1; they go from 0 to 1"),
    ],
)  # fmt: skip
def test_files_that_mean_other_pictures_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    root = write_both_splits(tmp_path / "set")
    file = tmp_path / "one.json"
    file.write_text(json.dumps(subset(root, **changes)))
    with pytest.raises(DataError, match=message):
        read(root, subset=file)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"dataset": "a"}', "\xff"])
def test_files_that_are_no_subset_are_refused(root: Path, text: str) -> None:
    file = root / "broken.json"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"broken.json: (not readable as JSON|no subset)"):
        read(root, subset=file)


def test_a_missing_file_is_named_with_its_setting(root: Path) -> None:
    with pytest.raises(DataError, match=r"data.train.subset: nowhere.json cannot be read \(No such file"):
        read(root, subset="nowhere.json")


def test_a_subset_of_the_held_out_pictures_depends_on_the_seed(root: Path) -> None:
    write_subset(root / "val.json", read(root, "val", limit=3, seed=1), "val", 1)
    with pytest.raises(DataError, match=r"validation pictures are held out, take the seed and data.validation_share"):
        read(root, "val", seed=2, subset=root / "val.json")


def test_ways_to_choose_exclude_each_other(small_experiment: config.Experiment) -> None:
    with pytest.raises(SettingsError, match=r"data.train.share: limit and share exclude each other; keep one of them"):
        changed(small_experiment, "data.train.limit=3", "data.train.share=0.5")
    newer = changed(changed(small_experiment, "data.train.limit=3"), "data.train.share=0.5").data.train
    assert (newer.limit, newer.share) == (None, 0.5)


def test_a_run_keeps_its_subsets_and_trains_on_them_again(small_experiment: config.Experiment, tmp_path: Path) -> None:
    settings = ("training.epochs=1", "data.train.limit=4", "data.val.share=0.5")
    run = api.train(changed(small_experiment, *settings), out=tmp_path / "run").folder
    files = {split: run / "subsets" / f"{split}.json" for split in ("train", "val")}
    assert {split: len(json.loads(file.read_text())["image_ids"]) for split, file in files.items()} == {
        "train": 4,
        "val": 3,
    }
    chosen = (f"data.{split}.subset={file}" for split, file in files.items())
    again = changed(small_experiment, "training.epochs=1", *chosen)
    for split in files:
        drawn = read_records(changed(small_experiment, *settings).data, split, seed=0)
        assert read_records(again.data, split, seed=0).fingerprint() == drawn.fingerprint()
    assert (api.train(again, out=tmp_path / "again").folder / "subsets/train.json").read_text() == files[
        "train"
    ].read_text()
