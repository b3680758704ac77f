"""The check of masks: every way to be broken is named, and each class is counted by what its pixels show."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dinotune import config
from dinotune.config.tasks import LabelKind
from dinotune.data.checks.data_set import DataCheck, check_data, decode
from dinotune.data.checks.masks import PixelCounts
from dinotune.data.checks.report import describe, to_json
from dinotune.data.checks.splits import check_splits
from dinotune.data.problems import Findings, Kind
from dinotune.data.repeats import repeat_factors
from dinotune.data.splits import read_records
from dinotune.errors import DataError
from tests.data.mask_sets import values, write_mask, write_pair
from tests.data.small_sets import write_coco_set, write_picture

GOOD = values([0, 1], [1, 2], [2, 2], [255, 0])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three training and two validation pictures of three classes."""
    for split, count in (("train", 3), ("val", 2)):
        for number in range(count):
            write_pair(tmp_path / f"images/{split}/{number}.png", tmp_path / f"masks/{split}/{number}.png", GOOD)
            colour = (50 * number, 90, 20 * len(split))
            write_picture(tmp_path / f"images/{split}/{number}.png", (4, 6), colour)
    (tmp_path / "classes.txt").write_text("sky\nsea\nship\n")
    return tmp_path


def check(root: Path, needs: LabelKind | None = None) -> DataCheck:
    return check_data(config.Data(root=root), needs=needs)


def test_a_good_set_has_no_problems_and_its_pixels_are_counted(root: Path) -> None:
    found = check(root)
    assert found.findings.problems == []
    train = found.splits[0]
    assert (train.has, train.pictures, train.without_objects, train.boxes) == ("semantic_masks", 3, 0, 0)
    assert dict(train.classes) == {"sky": 3, "sea": 3, "ship": 3}
    assert dict(train.shares) == pytest.approx({"sky": 6 / 21, "sea": 6 / 21, "ship": 9 / 21})
    lines = describe(found)
    assert lines[1:3] == [
        "train: 3 pictures",
        "  ship 42.9% of pixels in 3 pictures, sky 28.6% in 3, sea 28.6% in 3",
    ]
    assert to_json(found)["splits"][0]["shares"]["ship"] == pytest.approx(9 / 21)


def test_every_way_to_be_broken_is_named(root: Path) -> None:
    pictures, masks = root / "images/train", root / "masks/train"
    for name in ("missing", "large", "cut", "odd", "blank"):
        write_pair(pictures / f"{name}.png", masks / f"{name}.png", GOOD)
        write_picture(pictures / f"{name}.png", (4, 6), (len(name), ord(name[0]), 3))
    (masks / "missing.png").unlink()
    write_mask(masks / "large.png", np.repeat(GOOD, 2, axis=1))
    large = np.random.default_rng(0).integers(0, 3, (40, 60))
    write_pair(pictures / "cut.png", masks / "cut.png", large)
    (masks / "cut.png").write_bytes((masks / "cut.png").read_bytes()[:300])
    write_mask(masks / "odd.png", values([0, 1], [7, 0], [0, 0], [0, 0]))
    write_mask(masks / "blank.png", values([255, 255], [255, 255], [255, 255], [255, 255]))
    write_mask(masks / "orphan.png", GOOD)
    found = check(root)
    assert {(p.kind, p.file.name) for p in found.findings.problems} == {
        (Kind.MISSING_MASK, "missing.png"),
        (Kind.WRONG_MASK_SIZE, "large.png"),
        (Kind.UNREADABLE_MASK, "cut.png"),
        (Kind.UNKNOWN_VALUE, "odd.png"),
        (Kind.ALL_IGNORED, "blank.png"),
        (Kind.ORPHAN_MASK, "orphan.png"),
    }
    (odd,) = [problem for problem in found.findings.problems if problem.kind is Kind.UNKNOWN_VALUE]
    assert odd.message.startswith(
        "pixels of no known class: 7 (3 px), first at x 0, y 1; the 3 classes have values from 0"
    )
    stopping = {problem.kind for problem in found.findings.stopping}
    assert stopping == {Kind.MISSING_MASK, Kind.WRONG_MASK_SIZE, Kind.UNREADABLE_MASK, Kind.UNKNOWN_VALUE}
    train = found.splits[0]
    assert (train.pictures, train.without_objects, train.classes["sky"]) == (6, 1, 3)


def test_a_split_of_ignored_masks_stops(root: Path) -> None:
    for number in range(2):
        write_mask(root / f"masks/val/{number}.png", np.full((4, 6), 255))
    (said,) = check(root).findings.stopping
    assert (said.kind, said.message) == (Kind.NO_LABELS, "val: 2 pictures, but no pixel of a class that could be used")


def test_classes_are_compared_by_what_masks_show(root: Path) -> None:
    (root / "classes.txt").write_text("sky\nsea\nship\ncloud\n")
    for number in range(3):
        write_mask(root / f"masks/train/{number}.png", values([0, 1], [0, 0], [0, 0], [0, 0]))
    said = {problem.kind: problem.message for problem in check(root).findings.problems}
    assert said == {
        Kind.UNTRAINED_CLASS: "val has pictures of ship; train has none",
        Kind.UNUSED_CLASS: "1 of 4 classes have no pictures in train, val: cloud",
    }


def test_rare_classes_are_told_with_what_helps(root: Path) -> None:
    """Nothing repeats pictures whose classes stand in mask files alone; of objects it is known."""
    records = {"train": read_records(config.Data(root=root), "train", seed=0, needs="semantic_masks")}
    objects = replace(records["train"], mask_files=None, image_labels=np.zeros(3, np.int64), has="classes")
    pixels = {"train": PixelCounts(np.array([100, 60, 2]), np.array([9, 9, 9]), 100, 0, 100)}
    for train, ends in (
        (records["train"], "of ship (2)"),
        (objects, "of ship (2); data.repeat_rare shows them more often"),
    ):
        (said,) = check_splits({"train": train}, {"train": root}, pixels)
        assert said.kind is Kind.RARE_CLASS
        assert said.message.endswith(ends)
        assert "repeat_rare" not in said.kind.value.remedy


def test_a_sample_is_named_as_such(root: Path) -> None:
    records = {"train": read_records(config.Data(root=root), "train", seed=0, needs="semantic_masks")}
    write_mask(root / "masks/train/0.png", np.zeros((4, 6)))
    write_mask(root / "masks/train/1.png", np.zeros((4, 6)))
    decoded = decode(records, Findings(), most=1, seed=0)
    assert decoded.pixels["train"].masks == 1
    problems = list(check_splits(records, {"train": root}, decoded.pixels))
    assert [p.message for p in problems] in (
        [],
        ["2 of 3 classes have no pictures in train (in 1 mask of 3): sea, ship"],
    )
    assert list(check_splits(records, {"train": root})) == [], "nothing is known without decoding"


def test_objects_with_masks_stay_objects(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write_coco_set(tmp_path, split, f"images/{split}")
    found = check(tmp_path, needs="instance_masks")
    assert found.splits[0].boxes == 2
    square = [[10, 5, 30, 5, 30, 15, 10, 15]]
    for split in ("train", "val"):
        entry = {"id": 1, "image_id": 7, "category_id": 90, "bbox": [10, 5, 20, 10], "segmentation": square}
        wrong = {"id": 2, "image_id": 3, "category_id": 18, "bbox": [1, 1, 9, 9], "segmentation": [[1]]}
        write_coco_set(tmp_path, split, f"images/{split}", annotations=[entry, wrong])
    found = check(tmp_path, needs="instance_masks")
    assert {problem.kind for problem in found.findings.stopping} == {Kind.MALFORMED_MASK}
    assert (found.splits[0].has, found.splits[0].boxes) == ("instance_masks", 1)
    painted = check(tmp_path, needs="semantic_masks").splits[0]
    assert (painted.has, dict(painted.classes)) == ("semantic_masks", {"background": 2, "dog": 0, "mug": 1})


def test_broken_run_lengths_are_named(tmp_path: Path) -> None:
    square, broken = [[10, 5, 30, 5, 30, 15, 10, 15]], {"size": [40, 60], "counts": "zz~~"}
    entry = {"image_id": 7, "category_id": 90, "bbox": [10, 5, 20, 10]}
    segments: tuple[object, ...]
    for split, segments in (("train", (square, broken, broken)), ("val", (square,))):
        entries = [{"id": number, "segmentation": each, **entry} for number, each in enumerate(segments, 1)]
        write_coco_set(tmp_path, split, f"images/{split}", annotations=entries)
    (said,) = check(tmp_path, needs="instance_masks").findings.stopping
    assert (said.kind, said.file) == (Kind.UNPAINTABLE_MASK, tmp_path / "images/train/seven.jpg")
    assert said.message.startswith("object 2 of 3: the mask of an object cannot be read: ")
    assert said.message.endswith("; and 1 more")
    assert check(tmp_path, needs="boxes").findings.stopping == []


def test_beside_layouts_have_no_orphans(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        for number in range(2):
            write_pair(tmp_path / split / f"{number}.jpg", tmp_path / split / f"{number}_mask.png", GOOD)
            write_picture(tmp_path / split / f"{number}.jpg", (4, 6), (90 * number, 9 * ord(split[0]) % 256, 0))
        (tmp_path / split / "_classes.csv").write_text("Pixel Value, Class\n0, a\n1, b\n2, c\n")
    assert check(tmp_path).findings.problems == []


def test_pictures_are_drawn_among_all_where_only_pixels_have_classes(tmp_path: Path) -> None:
    for number in range(10):
        write_pair(tmp_path / f"images/{number}.png", tmp_path / f"masks/{number}.png", GOOD)
    data = config.Data(root=tmp_path, validation_share=0.3)
    train, val = (read_records(data, split, seed=0, needs="semantic_masks") for split in ("train", "val"))
    assert (len(train), len(val)) == (7, 3)
    assert not set(train.paths) & set(val.paths)
    few = read_records(config.Data(root=tmp_path, train=config.Split(limit=2)), "train", seed=0, needs="semantic_masks")
    assert few.notes[-1] == "limit 2: 2 of 8 pictures used, drawn among all (seed 0)"
    assert (repeat_factors(train, 0) == 1).all()
    with pytest.raises(DataError, match=r"data.repeat_rare: .* in the pixels of its mask alone; set it to 0"):
        repeat_factors(train, 0.5)


def test_real_sets(shared_data: Path) -> None:
    nuclei = check_data(config.Data(root=shared_data / "nuclei", format="mask_folder"))
    assert nuclei.findings.stopping == []
    assert dict(nuclei.splits[0].classes) == {"background": 160, "foreground": 160}
    assert 0.1 < nuclei.splits[0].shares["foreground"] < 0.3
    coco53 = check_data(config.Data(root=shared_data / "coco53"), needs="semantic_masks")
    assert coco53.findings.stopping == []
    assert coco53.splits[0].classes["person"] > 5
