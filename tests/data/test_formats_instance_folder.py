"""Instance folders: every value is an object, found without painting it."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dinotune import config
from dinotune.data import formats
from dinotune.data.formats.instance_folder.regions import find_regions, run_lengths
from dinotune.data.pixel_labels import class_map, object_masks
from dinotune.data.problems import Kind
from dinotune.data.records import LabelSet, Records
from dinotune.data.rle import compress, encode_mask
from dinotune.data.splits import read_records
from tests.data.mask_sets import painted, read, values, write_mask, write_pair
from tests.data.small_sets import write_picture

KIND = "instance_folder"
NUMBERS = np.zeros((8, 10), int)
NUMBERS[2:4, 3:6] = 7
NUMBERS[6:, 8:] = 300
NUMBERS[5, 0] = NUMBERS[7, 2] = 41
"""Three objects, one of them in two pieces."""
BOXES = {7: [3, 2, 6, 4], 41: [0, 5, 3, 8], 300: [8, 6, 10, 8]}


def check(records: Records, numbers: np.ndarray) -> None:
    """The objects of the only picture are exactly the values of a map."""
    record = records[0]
    wanted = np.unique(numbers)[np.unique(numbers) > 0]
    assert (object_masks(record) == (numbers == wanted[:, None, None])).all()
    assert record.areas.tolist() == [(numbers == value).sum() for value in wanted]


@pytest.mark.parametrize(
    ("picture", "mask"),
    [
        ("images/train/a.jpg", "instance_masks/train/a.png"),
        ("train/images/a.jpg", "train/instances/a.png"),
        ("images/a.jpg", "instances/a_instance.png"),
    ],
)
def test_layouts(tmp_path: Path, picture: str, mask: str) -> None:
    write_pair(tmp_path / picture, tmp_path / mask, NUMBERS)
    assert formats.detect_format(tmp_path) == formats.detect_format(tmp_path, "instance_masks") == KIND
    assert formats.format_of((tmp_path / mask).parent) == KIND
    records, problems = read(tmp_path, kind=KIND)
    assert (problems, records.has, records.labels) == ([], "boxes", LabelSet(("object",), (1,)))
    assert records.boxes.tolist() == list(BOXES.values()), "edges lie behind the last pixel"
    check(records, NUMBERS)


def test_masks_are_kept_only_where_they_are_wanted(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write_pair(tmp_path / f"images/{split}/a.jpg", tmp_path / f"instances/{split}/a.png", NUMBERS)
    data = config.Data(root=tmp_path)
    boxes, objects, pixels = (
        read_records(data, "train", seed=0, needs=needs) for needs in ("boxes", "instance_masks", "semantic_masks")
    )
    assert (boxes.has, boxes.segments) == ("boxes", None)
    assert (objects.has, len(objects.segments or ())) == ("instance_masks", 3)
    assert boxes.boxes.tolist() == objects.boxes.tolist()
    assert pixels.labels.names == ("background", "object")
    assert (class_map(pixels[0]) == (NUMBERS > 0)).all()


@given(st.lists(st.lists(st.integers(0, 4), min_size=7, max_size=7), min_size=1, max_size=9))
def test_regions_are_what_painting_finds(rows: list[list[int]]) -> None:
    numbers = np.array(rows, np.int32)
    regions = find_regions(numbers)
    assert regions.values.tolist() == sorted(set(numbers[numbers > 0].tolist()))
    texts = compress([run_lengths(runs, numbers.size) for runs in regions.runs], numbers.shape)
    for value, box, area, text in zip(regions.values, regions.boxes, regions.areas, texts, strict=True):
        mask = numbers == value
        y, x = np.nonzero(mask)
        assert box.tolist() == [x.min(), y.min(), x.max() + 1, y.max() + 1]
        assert area == mask.sum()
        assert text == encode_mask(mask)


def test_one_class_by_name(tmp_path: Path) -> None:
    write_pair(tmp_path / "images/a.jpg", tmp_path / "instances/a.png", NUMBERS)
    assert read(tmp_path, labels=LabelSet(("cell",), (5,)), kind=KIND)[0].labels == LabelSet(("cell",), (1,))
    (tmp_path / "classes.txt").write_text("background\nnucleus\n")
    assert read(tmp_path, kind=KIND)[0].labels == LabelSet(("nucleus",), (1,))
    records, problems = read(tmp_path, labels=LabelSet(("cell",), (5,)), kind=KIND)
    assert [problem.kind for problem in problems] == [Kind.UNKNOWN_CLASS]
    assert len(records.boxes) == 0


def test_cityscapes(tmp_path: Path) -> None:
    """26001 and 26002 are two cars, 26 a group of them, 7 road, 29000 a caravan that does not count."""
    pixels = values([26001, 26002], [26, 7], [24000, 29000], [0, 0])
    city = tmp_path / "gtFine/train/aachen"
    write_pair(tmp_path / "leftImg8bit/train/aachen/a_leftImg8bit.png", city / "a_gtFine_instanceIds.png", pixels)
    write_mask(city / "a_gtFine_labelIds.png", values([26, 26], [26, 7], [24, 29], [0, 0]))
    records, problems = read(tmp_path, kind=KIND)
    assert (problems, len(records.labels), records.labels.ids[:3]) == ([], 8, (24, 25, 26))
    found = [
        (records.labels.names[label], crowd) for label, crowd in zip(records.box_labels, records.crowd, strict=True)
    ]
    assert found == [("car", True), ("person", False), ("car", False), ("car", False)]
    assert records.boxes.tolist() == [[0, 1, 3, 2], [0, 2, 3, 3], [0, 0, 3, 1], [3, 0, 6, 1]]


@pytest.mark.parametrize("form", ["palette", "RGB"])
def test_voc(tmp_path: Path, form: str) -> None:
    """Objects 1 and 2, of the classes that most of their pixels have: dog and person; 255 is a border."""
    numbers, classes = values([1, 1], [2, 0], [2, 2], [255, 255]), values([12, 12], [12, 0], [15, 15], [255, 255])
    colours = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 255: (224, 224, 192)}
    picture = tmp_path / "JPEGImages/a.jpg"
    write_pair(picture, tmp_path / "SegmentationObject/a.png", painted(numbers, colours) if form == "RGB" else numbers)
    write_mask(tmp_path / "SegmentationClass/a.png", classes)
    (tmp_path / "ImageSets/Segmentation").mkdir(parents=True)
    (tmp_path / "ImageSets/Segmentation/train.txt").write_text("a\n")
    records, problems = read(tmp_path, kind=KIND)
    assert (problems, len(records.labels), records.labels.names[0]) == ([], 20, "aeroplane")
    found = {records.labels.names[label]: area for label, area in zip(records.box_labels, records.areas, strict=True)}
    assert found == {"dog": 6, "person": 9}


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    for name in ("good", "broken", "large", "empty"):
        write_pair(tmp_path / f"images/{name}.jpg", tmp_path / f"instances/{name}.png", NUMBERS)
    content = (tmp_path / "instances/broken.png").read_bytes()
    (tmp_path / "instances/broken.png").write_bytes(content[:60])
    write_picture(tmp_path / "images/large.jpg", (9, 10))
    write_picture(tmp_path / "images/alone.jpg")
    write_mask(tmp_path / "instances/empty.png", np.zeros((8, 10)))
    records, problems = read(tmp_path, kind=KIND)
    assert [(Path(path).name, count) for path, count in zip(records.paths, np.diff(records.offsets), strict=True)] == [
        ("empty.jpg", 0),
        ("good.jpg", 3),
    ]
    assert {(p.kind, p.file.name) for p in problems} == {
        (Kind.UNREADABLE_MASK, "broken.png"),
        (Kind.WRONG_MASK_SIZE, "large.png"),
        (Kind.MISSING_MASK, "alone.jpg"),
    }


def test_nuclei(shared_data: Path) -> None:
    """Its boxes in COCO's format came from the same masks; these are what the masks of classes show together."""
    data = config.Data(root=shared_data / "nuclei")
    coco = read_records(data, "val", seed=0)
    records = read_records(data, "val", seed=0, needs="instance_masks")
    assert (len(records), records.has, records.notes[-1:]) == (40, "instance_masks", ())
    places = {path: index for index, path in enumerate(coco.paths.tolist())}
    pixels = read_records(data, "val", seed=0, needs="semantic_masks")
    for index in range(len(records)):
        record, same = records[index], coco[places[str(records.paths[index])]]
        assert sorted(record.boxes.tolist()) == sorted(same.boxes.tolist())
        assert sorted(record.areas.tolist()) == sorted(same.areas.tolist())
        if index % 5 == 0:
            assert (object_masks(record).any(0) == class_map(pixels[index])).all()
