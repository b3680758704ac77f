"""`dinotune convert`: what it says, refuses and leaves alone; and real sets against their own files."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import dinotune
from dinotune import cli
from dinotune.converting.out import LISTING
from dinotune.data.formats import WRITERS
from dinotune.errors import DataError, DinotuneError, SettingsError
from tests.class_folders import draw_class_folders
from tests.converting.drawn_sets import CLASSES, SPLITS, class_map_of, convert, drawn_splits, files
from tests.data.broken_sets import TOGETHER, CocoSet
from tests.data.small_sets import voc_objects, write_coco_set
from tests.mask_folders import draw_mask_folder


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    WRITERS["coco"](drawn_splits(tmp_path / "drawn"), tmp_path / "drawn set", "copy")
    return tmp_path / "drawn set"


def test_what_is_said(drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_coco_set(tmp_path / "set", "train", "images/train")
    write_coco_set(tmp_path / "set", "val", "images/val")
    out = tmp_path / "out"
    assert convert(tmp_path / "set", out, "yolo", "data.train.limit=1") == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{tmp_path / 'set'}: COCO",
        "  limit 1: 1 of 2 pictures used, drawn among those with boxes (seed 0)",
        "train: 1 picture, 1 object",
        "val: 2 pictures, 2 objects, 1 ignore region",
        "What the format cannot hold:",
        "  1 × ignore region (crowd, difficult) left out: YOLO has none",
        "  1 × area of a mask left out, that of the box stands for it: YOLO has no areas",
        f"Wrote {out}: YOLO, 3 pictures copied",
    ]
    assert convert(drawn, tmp_path / "masks", "mask_folder", "--pictures", "none") == 0
    printed = capsys.readouterr().out
    assert "6 × object painted: a mask folder holds classes of pixels" in printed
    assert printed.endswith("mask folder, 5 pictures left where they are\n")
    assert not (tmp_path / "masks/images").exists()


def test_pixels_are_those_of_the_objects(drawn: Path, tmp_path: Path) -> None:
    """Without any reader of ours."""
    assert convert(drawn, tmp_path / "out", "mask_folder") == 0
    names = yaml.safe_load((tmp_path / "out/classes.yaml").read_text())["classes"]
    assert names == {0: "background", **dict(zip(CLASSES.ids, CLASSES.names, strict=True))}
    for split, records in drawn_splits(tmp_path / "again").items():
        for index in range(len(records)):
            with Image.open(tmp_path / "out/masks" / split / f"{index}.png") as mask:
                assert (np.asarray(mask) == class_map_of(records[index])).all()


def test_nothing_is_held_out(drawn: Path, tmp_path: Path) -> None:
    (drawn / "annotations/instances_val.json").unlink()
    found = dinotune.convert(drawn, tmp_path / "out", "yolo")
    assert {split: count.pictures for split, count in found.splits.items()} == {"train": SPLITS["train"]}


def test_places_may_be_named(drawn: Path, tmp_path: Path) -> None:
    (drawn / "annotations/instances_val.json").rename(drawn / "val.json")
    (drawn / "annotations/instances_train.json").rename(drawn / "annotations/instances_train2014.json")
    (drawn / "annotations/instances_train2017.json").write_text("{}")
    words = [f"data.train.annotations={drawn}/annotations/instances_train2014.json"]
    with pytest.raises(DataError, match=r"several files for split train .*choose with data.train.annotations"):
        dinotune.convert(drawn, tmp_path / "out", "voc")
    words += [f"data.train.images={drawn}/images/train", f"data.val.annotations={drawn}/val.json"]
    found = dinotune.convert(drawn, tmp_path / "out", "voc", overrides=words)
    assert {split: count.pictures for split, count in found.splits.items()} == SPLITS


@pytest.mark.parametrize(
    ("kind", "to", "words", "status", "expected"),
    [
        ("coco", "coc", (), 2, 'give coco, voc, yolo, .*; did you mean "coco"'),
        ("coco", "cifar", (), 2, "--to: cifar is wrong; give coco, "),
        ("coco", "image_folder", (), 2, "coco.* has boxes around objects, image_folder holds a class per picture; give coco, voc, yolo, torchvision_json, mask_folder, instance_folder\n"),
        ("mask_folder", "coco", (), 2, "a class per pixel, coco holds boxes around objects; give mask_folder\n"),
        ("image_folder", "mask_folder", (), 2, "give class_list, image_folder\n"),
        ("image_folder", "image_folder", ("--pictures", "none"), 1, "an ImageFolder is its pictures; copy or link them"),
        ("coco", "instance_folder", (), 1, r"holds one class, not 2 \(cat, dog\); write coco"),
        ("bare", "mask_folder", (), 1, "train: no object has a mask, which mask_folder needs; --to coco, voc, yolo, "),
        ("nothing", "coco", (), 1, "nothing: no such folder"),
        ("coco", "yolo", ("--pictures", "move"), 2, "'move' is not one of 'copy', 'link', 'none'"),
        ("coco", "yolo", ("data.train.limits=3",), 2, 'did you mean "limit"'),
        ("coco", "yolo", ("voc",), 2, "voc: no setting; write key=value"),
    ],
)  # fmt: skip
def test_refusals(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, to: str, words: tuple[str, ...],
    status: int, expected: str,
) -> None:  # fmt: skip
    drawn.rename(tmp_path / "coco")
    draw_mask_folder(tmp_path / "mask_folder", **SPLITS)
    draw_class_folders(tmp_path / "image_folder", **SPLITS)
    write_coco_set(tmp_path / "bare", "train", "images/train")
    assert convert(tmp_path / kind, tmp_path / "out", to, *words) == status
    flat = " ".join(capsys.readouterr().err.replace("│", " ").split()) + "\n"
    assert re.search(expected, flat)
    assert not (tmp_path / "out").exists()


def test_a_second_conversion_takes_the_place_of_the_first(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep" / "out"
    assert convert(drawn, out, "yolo") == 0
    first = files(out)
    assert convert(drawn, out, "yolo") == 2
    assert "is not empty; replace an earlier conversion with --overwrite" in capsys.readouterr().err
    assert files(out) == first
    assert convert(drawn, out, "coco", "--overwrite", "data.train.limit=1", "data.val.limit=1") == 0
    assert len(list(out.rglob("*.png"))) == 2, "nothing of the first is left"
    assert not (out / "labels").exists()
    assert convert(drawn, out, "yolo", "--overwrite") == 0
    assert files(out) == first
    assert set(json.loads(first[LISTING])) == set(first)


def test_others_files_are_left_alone(drawn: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    with pytest.raises(SettingsError, match=r"is no conversion \(no .*\), so --overwrite leaves it alone"):
        dinotune.convert(drawn, out, "yolo", overwrite=True)
    (out / "thesis.txt").unlink()
    dinotune.convert(drawn, out, "yolo")
    (out / "images/train/mine.png").touch()
    before = files(out)
    with pytest.raises(SettingsError, match=r"no part of the conversion \(images/train/mine.png\), so --overwrite"):
        dinotune.convert(drawn, out, "coco", overwrite=True)
    (out / "images/train/mine.png").unlink()
    for source in (out, drawn):
        dinotune.convert(source, tmp_path / "linked", "voc", pictures="link", overwrite=source == drawn)
        with pytest.raises(SettingsError, match=r"is read and lies in \S+out, so --overwrite leaves it alone"):
            dinotune.convert(tmp_path / "linked" if source == out else out, out, "coco", overwrite=True)
    assert files(out) == {name: content for name, content in before.items() if "mine" not in name}
    with pytest.raises(SettingsError, match="is a file; name a folder"):
        dinotune.convert(drawn, out / "data.yaml", "coco")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device", "a.png")])
@pytest.mark.parametrize("earlier", [True, False])
def test_nothing_unfinished_is_left(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, earlier: bool, error: BaseException
) -> None:
    out = tmp_path / "new" / "out"
    if earlier:
        assert convert(drawn, out, "voc") == 0
    before = files(tmp_path)

    def stops(_: object, folder: Path, __: object) -> tuple[str, ...]:
        (folder / "images").mkdir()
        (folder / "images/half.png").touch()
        raise error

    monkeypatch.setitem(WRITERS, "yolo", stops)
    assert convert(drawn, out, "yolo", "--overwrite") in (1, 130)
    assert files(tmp_path) == before
    assert out.parent.exists() is earlier


def test_what_a_killed_process_left_is_cleared(drawn: Path, tmp_path: Path) -> None:
    left = tmp_path / "out/.dinotune-unfinished-1/images"
    left.mkdir(parents=True)
    (left / "half.png").touch()
    assert convert(drawn, tmp_path / "out", "yolo") == 0
    assert "half.png" not in "".join(files(tmp_path / "out"))


def test_broken_entries_are_named_or_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = CocoSet(tmp_path / "broken")
    data.box("good0.png", [5, 5, -3, 9])
    data.add("missing.png").unlink()
    data.write()
    assert convert(data.root, tmp_path / "out", "yolo") == 1
    said = capsys.readouterr().err
    for part in ("instances_train.json:", "missing.png does not exist", "negative", "data.on_error=skip goes on"):
        assert part in said
    assert not (tmp_path / "out").exists()
    assert convert(data.root, tmp_path / "out", "yolo", "data.on_error=skip") == 0
    printed = capsys.readouterr().out
    assert "train: 4 pictures, 8 objects" in printed
    assert "1 × picture that does not exist, left out" in printed


def test_broken_masks_are_named_or_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = draw_mask_folder(tmp_path / "set", **SPLITS)
    (root / "masks/train/0.png").write_bytes((root / "masks/train/0.png").read_bytes()[:-30])
    Image.fromarray(np.full((64, 96), 77, np.uint8)).save(root / "masks/train/1.png")
    assert convert(root, tmp_path / "out", "mask_folder") == 1
    said = capsys.readouterr().err
    for part in ("masks/train/0.png: not a readable mask", "masks/train/1.png: pixels of no known class: 77"):
        assert part in said
    assert not (tmp_path / "out").exists()
    assert convert(root, tmp_path / "out", "mask_folder", "data.on_error=skip") == 0
    assert "train: 1 picture\n" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out/masks/train").iterdir()) == ["2.png"]
    for path in (root / "masks/val").iterdir():
        path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match="val: no mask can be read"):
        dinotune.convert(root, tmp_path / "new", "mask_folder", overrides=["data.on_error=skip"])


def test_every_way_to_be_broken_ends_in_a_sentence(tmp_path: Path) -> None:
    data = CocoSet(tmp_path / "broken")
    for case in TOGETHER.values():
        case.build(data)
    data.write()
    for to in ("coco", "voc", "torchvision_json"):
        with pytest.raises(DinotuneError, match=r"lists all; data.on_error=skip"):
            dinotune.convert(data.root, tmp_path / "out", to)
        found = dinotune.convert(data.root, tmp_path / to, to, overrides=["data.on_error=skip"])
        assert found.splits["train"].pictures > 10


def test_blood_cells_are_those_of_their_xml_files(shared_data: Path, tmp_path: Path) -> None:
    """By the standard library alone: VOC's corners count from one, and COCO's boxes are corner and sides."""
    assert convert(shared_data / "bccd", tmp_path / "yolo", "yolo", "--pictures", "link") == 0
    assert convert(tmp_path / "yolo", tmp_path / "coco", "coco", "--pictures", "link") == 0
    for split in ("train", "val", "test"):
        content = json.loads((tmp_path / f"coco/annotations/instances_{split}.json").read_text())
        stems = {image["id"]: Path(image["file_name"]).stem for image in content["images"]}
        names = {category["id"]: category["name"] for category in content["categories"]}
        found = sorted(
            (stems[entry["image_id"]], names[entry["category_id"]], *np.round(entry["bbox"]).astype(int).tolist())
            for entry in content["annotations"]
        )
        expected = sorted(
            (stem, name, int(x1) - 1, int(y1) - 1, int(x2 - x1) + 1, int(y2 - y1) + 1)
            for stem, name, (x1, y1, x2, y2) in voc_objects(shared_data / "bccd", split)
            if x2 > x1 and y2 > y1
        )
        assert found == expected


def test_help_names_every_format() -> None:
    assert cli.FORMATS.replace(" or ", ", ").split(", ") == list(WRITERS)


def test_torch_is_not_loaded(drawn: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from dinotune import cli; status = cli.run(sys.argv[1:]);"
        "print('heavy:', sorted({'torch', 'lightning', 'timm'} & set(sys.modules))); sys.exit(status)"
    )
    for to in ("yolo", "mask_folder"):
        words = ["convert", str(drawn), str(tmp_path / to), "--to", to]
        done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=True)
        assert done.stdout.endswith("heavy: []\n")
