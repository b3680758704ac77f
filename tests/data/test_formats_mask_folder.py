"""Mask folders in the layouts and encodings in which they are found, each proven on pixels written by hand."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import ExifTags, Image

from dinotune import config
from dinotune.data import formats
from dinotune.data.formats.mask_folder.known_sets import voc_colour
from dinotune.data.pixel_labels import class_map
from dinotune.data.problems import FileError, Kind
from dinotune.data.records import LabelSet
from dinotune.data.splits import read_records
from dinotune.errors import DataError
from tests.data.mask_sets import PLAIN, PLAIN_IDS, VOC_COLOURS, ids_of, painted, read, values, write_mask, write_pair
from tests.data.small_sets import write_picture

LAYOUTS = {
    "masks apart": ("images/train/a.jpg", "masks/train/a.png"),
    "nested": ("images/train/x/y/a.jpg", "masks/train/x/y/a.png"),
    "year": ("images/train2017/a.jpg", "semantic_masks/train2017/a.png"),
    "other words": ("images/training/a.jpg", "annotations/training/a.png"),
    "labels": ("imgs/train/a.png", "labels/train/a.png"),
    "split first": ("train/images/a.jpg", "train/masks/a.png"),
    "pictures in the split": ("train/a.jpg", "train/masks/a.png"),
    "no splits": ("images/a.jpg", "masks/a.png"),
    "suffix": ("images/train/a.jpg", "masks/train/a_mask.png"),
    "both ends": ("images/train/a_sat.jpg", "masks/train/a_seg.png"),
    "beside": ("train/a.jpg", "train/a_mask.png"),
    "beside, no splits": ("a.png", "a_mask.png"),
    "tif": ("images/a.tif", "masks/a.tif"),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(tmp_path: Path, name: str) -> None:
    picture, mask = (tmp_path / "set" / part for part in LAYOUTS[name])
    write_pair(picture, mask)
    assert formats.detect_format(tmp_path / "set") == "mask_folder"
    records, problems = read(tmp_path / "set")
    assert (records.has, records.paths.tolist()) == ("semantic_masks", [str(picture)])
    assert (records.sizes_hw.tolist(), len(records.boxes)) == ([[4, 6]], 0)
    assert ids_of(records) == PLAIN_IDS
    assert [problem.kind for problem in problems] == [Kind.NAMELESS_CLASSES]
    assert records.labels.names == ("class 0", "class 1", "class 2")


def test_splits_have_many_names(tmp_path: Path) -> None:
    for split, name in (("train", "a"), ("validation", "b"), ("test", "c")):
        write_pair(tmp_path / f"images/{split}/{name}.jpg", tmp_path / f"masks/{split}/{name}.png")
    paths = [Path(read(tmp_path, split)[0].paths[0]).name for split in ("train", "val", "test")]
    assert paths == ["a.jpg", "b.jpg", "c.jpg"]


@pytest.mark.parametrize("folder", ["annotations", "labels"])
def test_folders_of_other_formats_are_none(tmp_path: Path, folder: str) -> None:
    write_picture(tmp_path / "images/train/a.jpg")
    write_mask(tmp_path / folder / "train/other.png", PLAIN)
    (tmp_path / folder / "train/a.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    assert formats.find_splits(tmp_path, "mask_folder") == {}


def test_two_folders_for_a_split_need_a_choice(tmp_path: Path) -> None:
    for year in (2012, 2017):
        write_pair(tmp_path / f"images/train{year}/a.jpg", tmp_path / f"masks/train{year}/a.png")
    with pytest.raises(DataError, match=r"several folders for split train .*choose with data.train.annotations"):
        formats.find_splits(tmp_path, "mask_folder")
    write_pair(tmp_path / "images/train/a.jpg", tmp_path / "masks/train/a.png")
    assert formats.find_splits(tmp_path, "mask_folder")["train"].annotations == tmp_path / "masks/train"


@pytest.mark.parametrize("root", [True, False])
@pytest.mark.parametrize("pictures", [True, False])
def test_folders_may_be_named(tmp_path: Path, root: bool, pictures: bool) -> None:
    write_pair(tmp_path / "images/one/a.jpg", tmp_path / "masks/one/a.png")
    write_pair(tmp_path / "images/two/a.jpg", tmp_path / "masks/two/a.png")
    (tmp_path / "classes.txt").write_text("sky\nsea\nship\n")
    splits = {
        split: {"annotations": tmp_path / "masks" / name} | ({"images": tmp_path / "images" / name} if pictures else {})
        for split, name in (("train", "one"), ("val", "two"))
    }
    data = config.Data.model_validate({"format": "mask_folder", "root": tmp_path if root else None, **splits})
    for split, name in (("train", "one"), ("val", "two")):
        records = read_records(data, split, seed=0, needs="semantic_masks")
        assert records.paths.tolist() == [str(tmp_path / "images" / name / "a.jpg")]
        assert records.labels.names == ("sky", "sea", "ship")
    assert formats.format_of(tmp_path / "masks/one") == "mask_folder"


def test_ade20k_scene_parsing_counts_from_one(tmp_path: Path) -> None:
    """0 is no class, so the first of the classes has the value 1."""
    pixels = values([0, 1], [2, 3], [3, 3], [1, 0])
    write_pair(tmp_path / "images/training/a.jpg", tmp_path / "annotations/training/a.png", pixels)
    (tmp_path / "objectInfo150.txt").write_text(
        "Idx\tRatio\tTrain\tVal\tStuff\tName\n1\t0.1576\t11664\t1172\t1\twall\n"
        "2\t0.1072\t6046\t612\t1\tbuilding;edifice\n3\t0.0878\t8265\t796\t1\tsky\n"
    )
    records, problems = read(tmp_path)
    assert (problems, records.labels) == ([], LabelSet(("wall", "building;edifice", "sky"), (1, 2, 3)))
    assert class_map(records[0])[:, ::3].tolist() == [[-1, 0], [1, 2], [2, 2], [0, -1]]


def test_ade20k_with_a_plain_list(tmp_path: Path) -> None:
    write_pair(tmp_path / "images/a.jpg", tmp_path / "masks/a.png", values([0, 1], [2, 2], [2, 2], [1, 0]))
    (tmp_path / "classes.txt").write_text("wall\nsky\n")
    records, _ = read(tmp_path, encoding="ade20k")
    assert records.labels == LabelSet(("wall", "sky"), (1, 2))
    assert ids_of(records) == [[-1, 1], [2, 2], [2, 2], [1, -1]]


def test_the_full_ade20k_has_its_classes_in_two_channels(tmp_path: Path) -> None:
    """Class = (R // 10) * 256 + G; red alone would make 4, 258 and 514 of other pictures 0, 1 and 2."""
    pixels = values(
        [(0, 0, 0), (0, 4, 9)], [(10, 2, 9), (19, 2, 5)], [(20, 2, 0), (120, 255, 0)], [(10, 2, 7), (0, 4, 0)]
    )
    folder = tmp_path / "images/ADE/training/urban/street"
    write_pair(folder / "ADE_train_00000001.jpg", folder / "ADE_train_00000001_seg.png", pixels)
    write_mask(folder / "ADE_train_00000001_parts_1.png", pixels)
    write_mask(folder / "ADE_train_00000001/instance_000.png", PLAIN)
    records, problems = read(tmp_path)
    assert records.paths.tolist() == [str(folder / "ADE_train_00000001.jpg")]
    assert ids_of(records) == [[-1, 4], [258, 258], [514, 3327], [258, 4]]
    assert [problem.kind for problem in problems] == [Kind.NAMELESS_CLASSES]
    names = {4: "door", 255: "lamp", 258: "sky", 514: "tree", 3327: "zebra"}
    (tmp_path / "classes.yaml").write_text(yaml.safe_dump({"names": names}))
    records, problems = read(tmp_path)
    assert (problems, records.labels) == ([], LabelSet(tuple(names.values()), tuple(names)))
    assert ids_of(records)[1] == [258, 258]


def test_cityscapes(tmp_path: Path) -> None:
    """19 of 35 ids count, among them neither the 4 (static) nor the 29 (caravan)."""
    for split in ("train", "val"):
        pixels = values([7, 8], [24, 33], [4, 29], [255, 0])
        city = tmp_path / f"gtFine/{split}/aachen"
        write_pair(tmp_path / f"leftImg8bit/{split}/aachen/a_leftImg8bit.png", city / "a_gtFine_labelIds.png", pixels)
        for other in ("color", "instanceIds"):
            write_mask(city / f"a_gtFine_{other}.png", np.zeros((4, 6, 3)))
    for split in ("train", "val"):
        records, problems = read(tmp_path, split)
        assert (problems, len(records), len(records.labels)) == ([], 1, 19)
        assert class_map(records[0])[:, ::3].tolist() == [[0, 1], [11, 18], [-1, -1], [-1, -1]]
        assert ids_of(records) == [[7, 8], [24, 33], [-1, -1], [-1, -1]]
    assert (records.labels.names[0], records.labels.names[11], records.labels.names[18]) == (
        "road",
        "person",
        "bicycle",
    )


def write_voc(root: Path, pixels: np.ndarray, lists: dict[str, str], palette: bool = False) -> None:
    table = [channel for i in range(256) for channel in VOC_COLOURS.get(i, (9, 9, 9))] if palette else []
    write_pair(root / "JPEGImages/a.jpg", root / "SegmentationClass/a.png", pixels, table)
    write_picture(root / "JPEGImages/b.jpg")
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    for name, text in lists.items():
        (root / "ImageSets/Segmentation" / f"{name}.txt").write_text(text)


VOC = values([0, 1], [1, 20], [20, 2], [255, 0])
VOC_IDS = [[0, 1], [1, 20], [20, 2], [-1, 0]]


@pytest.mark.parametrize("form", ["palette", "RGB"])
def test_voc(tmp_path: Path, form: str) -> None:
    """Of a palette the index counts, whatever its colours are; else the colours of VOC's own palette."""
    write_voc(tmp_path, painted(VOC, VOC_COLOURS) if form == "RGB" else VOC, {"train": "a\n"}, form == "palette")
    records, problems = read(tmp_path)
    assert (problems, len(records.labels), records.labels.ids[20]) == ([], 21, 20)
    assert (records.labels.names[0], records.labels.names[20]) == ("background", "tvmonitor")
    assert ids_of(records) == VOC_IDS


def test_the_palette_of_voc() -> None:
    assert {i: voc_colour(i) for i in VOC_COLOURS} == {
        i: (r << 16) + (g << 8) + b for i, (r, g, b) in VOC_COLOURS.items()
    }
    assert len({voc_colour(i) for i in range(256)}) == 256


def test_lists_name_the_pictures_of_a_split(tmp_path: Path) -> None:
    write_voc(tmp_path, VOC, {"train": "a\nb\nc\n", "val": "a"})
    records, problems = read(tmp_path)
    assert [Path(path).name for path in records.paths] == ["a.jpg"]
    assert {(p.kind, p.file.name, p.line) for p in problems} == {
        (Kind.MISSING_MASK, "b.jpg", None),
        (Kind.MISSING_PICTURE, "train.txt", 3),
    }
    assert len(read(tmp_path, "val")[0]) == 1


@pytest.mark.parametrize("form", ["RGB", "palette"])
def test_cvat(tmp_path: Path, form: str) -> None:
    colours = {0: (0, 0, 0), 1: (250, 50, 83), 2: (51, 221, 255)}
    ids = values([0, 1], [1, 2], [2, 2], [0, 0])
    table = [channel for colour in colours.values() for channel in colour]
    write_pair(
        tmp_path / "JPEGImages/a.jpg",
        tmp_path / "SegmentationClass/a.png",
        painted(ids, colours) if form == "RGB" else ids,
        table if form == "palette" else (),
    )
    (tmp_path / "ImageSets/Segmentation").mkdir(parents=True)
    (tmp_path / "ImageSets/Segmentation/default.txt").write_text("a\n")
    (tmp_path / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\nmug:51,221,255:handle:\ndog:250,50,83::\nvoid:1,2,3::\n"
    )
    records, problems = read(tmp_path)
    assert (problems, records.labels) == ([], LabelSet(("background", "mug", "dog"), (0, 1, 2)))
    assert ids_of(records) == [[0, 2], [2, 1], [1, 1], [0, 0]]
    write_mask(tmp_path / "SegmentationClass/a.png", painted(ids, colours | {2: (51, 221, 254)}))
    with pytest.raises(DataError, match=r"a.png: pixels of no known class: #33ddfe \(9 px\), first at x 3, y 1"):
        class_map(read(tmp_path)[0][0])


def test_colours_without_a_meaning_are_refused(tmp_path: Path) -> None:
    write_pair(tmp_path / "images/a.jpg", tmp_path / "masks/a.png", painted(VOC, VOC_COLOURS))
    with pytest.raises(FileError, match=r"painted in colours \(#000000, .*; write labelmap.txt with a line"):
        read(tmp_path)


def test_roboflow(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        write_pair(tmp_path / split / "a.rf.1.jpg", tmp_path / split / "a.rf.1_mask.png", values([0, 1], [2, 2]))
        (tmp_path / split / "_classes.csv").write_text("Pixel Value, Class\n0, background\n1, dog\n2, mug\n")
    write_picture(tmp_path / "train/b.jpg")
    records, problems = read(tmp_path)
    assert records.labels == LabelSet(("background", "dog", "mug"), (0, 1, 2))
    assert [(p.kind, p.file.name) for p in problems] == [(Kind.MISSING_MASK, "b.jpg")]
    assert ids_of(read(tmp_path, "val")[0]) == [[0, 1], [2, 2]]


def test_what_does_not_pair_up_is_named(tmp_path: Path) -> None:
    for name in ("good", "large", "broken", "sealed"):
        write_pair(tmp_path / f"images/{name}.jpg", tmp_path / f"masks/{name}.png")
    write_picture(tmp_path / "images/alone.jpg")
    write_mask(tmp_path / "masks/orphan.png", PLAIN)
    write_mask(tmp_path / "masks/large.png", np.repeat(PLAIN, 2, axis=0))
    (tmp_path / "masks/broken.png").write_bytes(b"<html>")
    (tmp_path / "images/sealed.jpg").write_bytes(b"")
    write_picture(tmp_path / "images/twin.jpg")
    write_pair(tmp_path / "images/twin.png", tmp_path / "masks/twin.png")
    (tmp_path / "classes.txt").write_text("sky\nsea\nship\n")
    records, problems = read(tmp_path)
    assert [Path(path).name for path in records.paths] == ["good.jpg"]
    assert {(p.kind, p.file.name) for p in problems} == {
        (Kind.MISSING_MASK, "alone.jpg"),
        (Kind.ORPHAN_MASK, "orphan.png"),
        (Kind.WRONG_MASK_SIZE, "large.png"),
        (Kind.UNREADABLE_MASK, "broken.png"),
        (Kind.UNREADABLE_PICTURE, "sealed.jpg"),
        (Kind.CLASHING_STEMS, "twin.jpg"),
        (Kind.ORPHAN_MASK, "twin.png"),
    }
    (large,) = [problem for problem in problems if problem.kind is Kind.WRONG_MASK_SIZE]
    assert large.message == "6 x 8 pixels, but large.jpg has 6 x 4 (width x height)"


def test_no_masks_at_all(tmp_path: Path) -> None:
    write_pair(tmp_path / "images/a.jpg", tmp_path / "masks/b.png")
    data = config.Data.model_validate({"format": "mask_folder", "train": {"annotations": tmp_path / "masks"}})
    with pytest.raises(DataError, match="no mask for any of 1 pictures"):
        read_records(data, "train", seed=0)


MASKS = {"mask_folder": "masks", "instance_folder": "instances"}


def turn(path: Path, orientation: int) -> None:
    """Give a file an EXIF orientation."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    with Image.open(path) as image:
        image.load()
    image.save(path, exif=exif)


@pytest.mark.parametrize("kind", MASKS)
def test_a_mask_may_fit_the_picture_as_stored(tmp_path: Path, kind: str) -> None:
    """Drawing tools that know nothing of EXIF; pixels must lie where they were drawn."""
    write_pair(tmp_path / "images/a.jpg", tmp_path / MASKS[kind] / "a.png")
    turn(tmp_path / "images/a.jpg", 6)
    records, problems = read(tmp_path, kind=kind)
    assert records.sizes_hw.tolist() == [[4, 6]]
    assert Kind.UNCLEAR_TURN not in {problem.kind for problem in problems}


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize(("orientation", "square"), [(3, False), (4, False), (2, True), (6, True), (8, True)])
def test_turns_that_no_size_tells_are_remarked(tmp_path: Path, orientation: int, square: bool, kind: str) -> None:
    pixels = np.zeros((6, 6), int) if square else PLAIN
    for name in "ab":
        write_pair(tmp_path / f"images/{name}.jpg", tmp_path / MASKS[kind] / f"{name}.png", pixels)
    turn(tmp_path / "images/b.jpg", orientation)
    _, problems = read(tmp_path, kind=kind)
    (said,) = [problem for problem in problems if problem.kind is Kind.UNCLEAR_TURN]
    assert said.file.name == "b.jpg"
    assert said.message.startswith(f"EXIF orientation {orientation}: both ways have the size of b.png")
    assert not said.kind.value.stops


@pytest.mark.parametrize("orientation", [3, 6])
def test_exif_in_a_mask_changes_nothing(tmp_path: Path, orientation: int) -> None:
    write_pair(tmp_path / "images/a.jpg", tmp_path / "masks/a.png")
    turn(tmp_path / "masks/a.png", orientation)
    records, problems = read(tmp_path)
    assert ids_of(records) == PLAIN_IDS
    assert {problem.kind for problem in problems} == {Kind.NAMELESS_CLASSES}


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_nuclei(shared_data: Path) -> None:
    data = config.Data(root=shared_data / "nuclei")
    train, val = (read_records(data, split, seed=0, needs="semantic_masks") for split in ("train", "val"))
    assert (len(train), len(val)) == (160, 40)
    assert train.labels == val.labels == LabelSet(("background", "foreground"), (0, 1))
    for records in (train, val):
        for index in range(0, len(records), 9):
            record = records[index]
            assert record.mask is not None
            assert (class_map(record) == pixels_of(record.mask.path)).all()


def test_coco53(shared_data: Path) -> None:
    """Its `classes.txt` is YOLO's and says nothing of the masks."""
    content = yaml.safe_load((shared_data / "coco53/semantic_config.yaml").read_text())["classes"]
    data = config.Data(root=shared_data / "coco53")
    for split, count in (("train", 26), ("val", 27)):
        records = read_records(data, split, seed=0, needs="semantic_masks")
        assert len(records) == count
        assert dict(zip(records.labels.ids, records.labels.names, strict=True)) | {0: "unlabeled"} == content
        ids = np.array([*records.labels.ids, 0])
        for index in range(len(records)):
            record = records[index]
            assert record.mask is not None
            assert (ids[class_map(record)] == pixels_of(record.mask.path)).all()
