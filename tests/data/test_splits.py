"""Splits: explicit paths, held-out validation pictures, limits, and messages."""

import subprocess
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from dinotune import config
from dinotune.config.tasks import LabelKind
from dinotune.data.formats import detect_format
from dinotune.data.held_out import stratified_share
from dinotune.data.splits import read_records
from dinotune.errors import DataError
from tests.class_folders import draw_class_folders
from tests.data.mask_sets import write_pair
from tests.data.small_sets import drawn_records, write_coco_set, write_picture, write_voc_set


def write_without_validation(root: Path) -> config.Data:
    """50 pictures: 40 show only cats, 10 a dog, some of them both."""
    objects = {
        f"{i:02}": [("cat", (1, 1, 9, 9))] * (i % 5 != 0 or i % 2) + [("dog", (5, 5, 20, 20))] * (i % 5 == 0)
        for i in range(50)
    }
    write_voc_set(root, objects, {"train": list(objects)})
    return config.Data(root=root)


def test_validation_share_is_held_out(tmp_path: Path) -> None:
    data = write_without_validation(tmp_path)
    train, val = (read_records(data, split, seed=3) for split in ("train", "val"))
    assert (len(train), len(val)) == (40, 10)
    assert not set(train.paths) & set(val.paths)
    assert train.notes == val.notes == ("no validation split: 10 of 50 training pictures held out (seed 3)",)
    dogs = sum(1 in val[i].labels for i in range(len(val)))
    assert dogs == 2, "a fifth of each class"
    assert set(val.paths) != set(read_records(data, "val", seed=4).paths)


@pytest.mark.parametrize("kind", ["auto", "coco"])
def test_a_root_that_is_not_there_is_said_with_the_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Literal["auto", "coco"]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=rf"^mine: no such folder in {tmp_path}; data.root must name"):
        read_records(config.Data(root=Path("mine"), format=kind), "train", seed=0)


def test_a_format_that_is_not_there_is_said_with_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Looked for COCO \(annotations/instances_SPLIT\*.json, .*\); SPLIT being"):
        read_records(config.Data(root=tmp_path, format="coco"), "train", seed=0)
    with pytest.raises(DataError, match="root is not set"):
        read_records(config.Data(format="coco"), "train", seed=0)


def test_held_out_pictures_are_the_same_in_every_process(tmp_path: Path) -> None:
    data = write_without_validation(tmp_path)
    here = read_records(data, "val", seed=3).image_ids.tolist()
    code = (
        "from dinotune import config; from dinotune.data.splits import read_records;"
        f"print(read_records(config.Data(root={str(tmp_path)!r}), 'val', seed=3).image_ids.tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(here)


def test_reading_leaves_the_global_generator_alone(tmp_path: Path) -> None:
    data = write_without_validation(tmp_path)
    np.random.seed(1)
    before = np.random.get_state()[1].copy()  # type: ignore[index]
    read_records(data, "val", seed=3)
    assert (np.random.get_state()[1] == before).all()  # type: ignore[index]


@pytest.mark.parametrize(("share", "count"), [(0.001, 1), (0.5, 5), (0.999, 9)])
def test_share_takes_at_least_one_and_never_all(tmp_path: Path, share: float, count: int) -> None:
    records = drawn_records(tmp_path, [(8, 8)] * 10)
    assert stratified_share(records, share, np.random.default_rng(0)).sum() == count


def test_every_picture_can_be_held_out(tmp_path: Path) -> None:
    records = drawn_records(tmp_path, [(8, 8)] * 7)
    seen = sum(stratified_share(records, 0.2, np.random.default_rng(seed)) for seed in range(60))
    assert (np.asarray(seen) > 0).all()


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("seed", range(12))
def test_no_class_is_held_out_whole(tmp_path: Path, seed: int, share: float) -> None:
    """One picture shows a pig, two a cow, of which one shows the only dog and one the only hen."""
    box = (1, 1, 9, 9)
    objects = {f"{i:02}": [("cat", box)] for i in range(16)}
    objects |= {"pig": [("pig", box)], "dog": [("cow", box), ("dog", box)], "hen": [("cow", box), ("hen", box)]}
    write_voc_set(tmp_path, objects, {"train": list(objects)})
    data = config.Data(root=tmp_path, validation_share=share)
    train, val = (read_records(data, split, seed=seed) for split in ("train", "val"))
    assert set(train.box_labels.tolist()) == set(range(len(train.labels)))
    assert len(val) == min(round(19 * share), 15)


@pytest.mark.parametrize("seed", range(12))
def test_the_only_picture_of_a_class_of_pictures_is_trained_on(tmp_path: Path, seed: int) -> None:
    root = draw_class_folders(tmp_path, train=6) / "train"
    for number in range(1, 6):
        (root / "red" / f"{number}.png").unlink()
    train, val = (read_records(config.Data(root=root), split, seed=seed) for split in ("train", "val"))
    assert train.image_labels is not None
    assert set(train.image_labels.tolist()) == {0, 1, 2}
    assert (len(train), len(val)) == (10, 3)


def test_where_every_class_has_one_picture_one_of_them_is_held_out(tmp_path: Path) -> None:
    root = draw_class_folders(tmp_path, train=1) / "train"
    assert len(read_records(config.Data(root=root), "val", seed=0)) == 1


def test_limit_draws_pictures_with_boxes(tmp_path: Path) -> None:
    objects = {f"{i:02}": [("cat", (1, 1, 9, 9))] * (i % 2) for i in range(20)}
    write_voc_set(tmp_path, objects, {"train": list(objects), "val": ["01"]})
    data = config.Data(root=tmp_path, train=config.Split.model_validate({"limit": 4}))
    records = read_records(data, "train", seed=0)
    assert len(records) == 4
    assert (np.diff(records.offsets) > 0).all()
    assert records.notes == ("limit 4: 4 of 20 pictures used, drawn among those with boxes (seed 0)",)
    assert set(records.paths) == set(read_records(data, "train", seed=0).paths)
    assert set(records.paths) != set(read_records(data, "train", seed=1).paths)
    many = read_records(config.Data(root=tmp_path, train=config.Split.model_validate({"limit": 99})), "train", seed=0)
    assert len(many) == 10


def test_explicit_paths_stand_beside_the_root(tmp_path: Path) -> None:
    write_coco_set(tmp_path / "a")
    other = write_coco_set(tmp_path / "b", split="holdout", folder="pictures")
    data = config.Data(
        root=tmp_path / "a", val=config.Split.model_validate({"annotations": other, "images": tmp_path / "b/pictures"})
    )
    assert read_records(data, "val", seed=0)[0].path == tmp_path / "b/pictures/seven.jpg"
    assert read_records(data, "train", seed=0)[0].path == tmp_path / "a/images/train2017/seven.jpg"


def test_explicit_paths_stand_without_a_root(tmp_path: Path) -> None:
    coco = write_coco_set(tmp_path / "c")
    assert len(read_records(config.Data(test=config.Split.model_validate({"annotations": coco})), "test", seed=0)) == 2
    write_voc_set(tmp_path / "v", {"a": [("cat", (1, 1, 5, 5))]}, {})
    voc = config.Data(test=config.Split.model_validate({"annotations": tmp_path / "v/Annotations"}))
    assert read_records(voc, "test", seed=0)[0].path == tmp_path / "v/JPEGImages/a.jpg"


@pytest.mark.parametrize(
    ("settings", "split", "message"),
    [
        ({}, "train", "data.root is not set"),
        ({"root": "nowhere"}, "train", "nowhere: no such folder"),
        (
            {"root": "."},
            "train",
            r"Looked for COCO .*Pascal VOC .*the folder holds c, v; or name the file with data.train.annotations=FILE",
        ),
        ({"root": "c"}, "test", r"no split test \(found: train\); name it with data.test.annotations"),
        ({"root": "c", "val": {"annotations": "gone.json"}}, "val", "data.val.annotations: gone.json does not exist"),
        ({"root": "c", "val": {"images": "c/images"}}, "val", "add data.val.annotations"),
    ],
)
def test_messages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, object], split: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_coco_set(Path("c"))
    Path("v").mkdir()
    with pytest.raises(DataError, match=message):
        read_records(config.Data.model_validate(settings), split, seed=0)


def test_two_formats_in_one_folder_need_a_choice(tmp_path: Path) -> None:
    write_voc_set(tmp_path, {"a": [("cat", (1, 1, 5, 5))]}, {"train": ["a"]})
    write_coco_set(tmp_path)
    with pytest.raises(DataError, match=r"coco and voc annotations; choose with data.format=coco"):
        detect_format(tmp_path)
    data = config.Data(root=tmp_path, format="voc", val=config.Split.model_validate({"annotations": tmp_path}))
    assert read_records(data, "train", seed=0).labels.names == ("cat",)


def test_real_sets_are_recognised(shared_data: Path) -> None:
    found = {name: detect_format(shared_data / name) for name in ("bccd", "nuclei", "coco53")}
    assert found == {"bccd": "voc", "nuclei": "coco", "coco53": "coco"}


def test_readers_load_no_torch() -> None:
    code = "import sys, dinotune.data.splits; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("kind", ["coco", "mask_folder", "yolo"])
def test_of_several_files_or_folders_the_named_one_is_read(tmp_path: Path, kind: str) -> None:
    named = {
        year: tmp_path
        / {"coco": "annotations/instances_{}.json", "yolo": "labels/{}"}.get(kind, "masks/{}").format(year)
        for year in ("train2014", "train2017")
    }
    for year, annotations in named.items():
        if kind == "coco":
            write_coco_set(tmp_path, year, f"images/{year}")
        for name in ("a", "b"):
            if kind == "mask_folder":
                write_pair(tmp_path / f"images/{year}/{name}.jpg", annotations / f"{name}.png")
            elif kind == "yolo":
                write_picture(tmp_path / f"images/{year}/{name}.jpg")
                annotations.mkdir(parents=True, exist_ok=True)
                (annotations / f"{name}.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    needs: LabelKind = "semantic_masks" if kind == "mask_folder" else "boxes"
    with pytest.raises(DataError, match=r"several f\w+ for split train \(.*choose with data.train.annotations"):
        read_records(config.Data(root=tmp_path), "train", seed=0, needs=needs)
    for year, annotations in named.items():
        for format_ in ("auto", kind):
            settings = {"root": tmp_path, "format": format_, "train": {"annotations": annotations}}
            records = read_records(config.Data.model_validate(settings), "train", seed=0, needs=needs)
            assert {Path(path).parent.name for path in records.paths} == {year}
