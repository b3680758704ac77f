"""From real folders to experiments: what is counted, what is chosen, and that it is one way for all verbs."""

import json
import shutil
from pathlib import Path

import pytest

from dinotune import config
from dinotune.config.loading import load_experiment
from dinotune.data.formats import HOLDS, KNOWN_BY, WRITERS
from dinotune.data.splits import read_records
from dinotune.errors import DataError, SettingsError
from dinotune.starting.choices import Wishes
from dinotune.starting.suggestion import load_start, suggest
from dinotune.starting.survey import Count
from tests.mask_folders import draw_mask_folder

REAL = {
    "bccd": ("voc", {"train": 205, "val": 87, "test": 72}, 3, 30, (480, 640)),
    "nuclei": ("coco", {"train": 160, "val": 40}, 1, 151, (256, 256)),
    "coco53": ("coco", {"train": 26, "val": 27}, 80, 33, (480, 640)),
}


@pytest.mark.parametrize("name", REAL)
def test_real_data_sets(shared_data: Path, name: str) -> None:
    form, pictures, classes, most, picture_hw = REAL[name]
    suggestion = suggest(shared_data / name, Wishes(gpu=True))
    counted = suggestion.survey
    assert counted.found.format == form
    assert {split: count.pictures for split, count in counted.counts.items()} == pictures
    assert len(counted.classes) == classes
    assert counted.most_objects == most
    assert counted.picture_hw == picture_hw
    experiment = suggestion.experiment
    assert experiment.data.size <= min(picture_hw)
    assert isinstance(experiment.head, config.FasterRcnn | config.Detr)
    assert experiment.head.slots >= most
    assert experiment.evaluation.max_detections >= most
    batch_size = experiment.training.batch_size
    assert isinstance(batch_size, int)
    assert 1000 < experiment.training.epochs * pictures["train"] / batch_size < 5000
    assert len(read_records(experiment.data, "train", seed=0)) == pictures["train"]


@pytest.mark.parametrize("kind", sorted(kind for kind in WRITERS if HOLDS[kind] == "boxes"))
def test_every_format(shapes: Path, tmp_path: Path, kind: str) -> None:
    data = config.Data(root=shapes)
    splits = {split: read_records(data, split, seed=0) for split in ("train", "val")}
    WRITERS[kind](splits, tmp_path / "own", "copy")
    (tmp_path / "own" / "data.yaml").unlink(missing_ok=True)
    suggestion = suggest(tmp_path / "own")
    assert suggestion.survey.found.format == kind
    assert KNOWN_BY[kind][0] in suggestion.describe()[0]
    assert suggestion.survey.counts == {split: Count(len(read), len(read.boxes)) for split, read in splits.items()}
    assert suggestion.experiment.data.format == kind


def test_a_mask_folder(tmp_path: Path) -> None:
    suggestion = suggest(draw_mask_folder(tmp_path / "own", train=8, val=2))
    assert suggestion.describe()[0].endswith("own: mask folder; pictures: 8 train, 2 val")
    assert suggestion.describe()[1].startswith("8 training pictures, 4 classes of pixels, most often: background, ")
    experiment = suggestion.experiment
    assert (experiment.head.kind, experiment.data.size) == ("linear_segmenter", 64)
    assert read_records(experiment.data, "val", seed=0, needs=experiment.needs).has == "semantic_masks"


def test_drawn_shapes_without_validation(shapes: Path, tmp_path: Path) -> None:
    shutil.copytree(shapes, tmp_path / "shapes")
    for split in ("val", "test"):
        (tmp_path / "shapes" / "annotations" / f"instances_{split}.json").unlink()
    suggestion = suggest(tmp_path / "shapes")
    assert {split: count.pictures for split, count in suggestion.survey.counts.items()} == {"train": 14, "val": 4}
    assert "14 train, 4 val (held out of train)" in suggestion.describe()[0]
    assert suggestion.experiment.data.validation_share == 0.2


def test_broken_entries_are_counted_once_and_the_rest_is_used(shapes: Path, tmp_path: Path) -> None:
    shutil.copytree(shapes, tmp_path / "shapes")
    (tmp_path / "shapes" / "annotations" / "instances_val.json").unlink()
    file = tmp_path / "shapes" / "annotations" / "instances_train.json"
    content = json.loads(file.read_text())
    content["annotations"][0]["category_id"] = 77
    file.write_text(json.dumps(content))
    suggestion = suggest(tmp_path / "shapes")
    assert suggestion.survey.broken == 1
    assert "broken entries or files: 1; dinotune check" in suggestion.describe()[-1]
    assert suggestion.survey.counts["train"].pictures == 14


def test_pictures_without_a_single_box(shapes: Path, tmp_path: Path) -> None:
    shutil.copytree(shapes, tmp_path / "shapes")
    file = tmp_path / "shapes" / "annotations" / "instances_train.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"annotations": []}))
    with pytest.raises(DataError, match="no training picture has a box; label some pictures first"):
        suggest(tmp_path / "shapes")
    broken = {"annotations": [{"id": 1, "image_id": 99, "category_id": 1, "bbox": [0, 0, 9, 9], "area": 81}]}
    file.write_text(json.dumps(json.loads(file.read_text()) | broken))
    with pytest.raises(
        DataError, match=r"no training picture has a box that can be used; dinotune check .*shapes says"
    ):
        suggest(tmp_path / "shapes")


def test_a_folder_starts_as_it_is_suggested(shapes: Path) -> None:
    loaded = load_start(shapes)
    assert loaded.experiment == suggest(shapes).experiment
    assert loaded.notes[0].startswith(f"{shapes}: COCO; pictures: 18 train, 6 val, 3 test")
    assert any(note.startswith("chosen: training.epochs=") for note in loaded.notes)


def test_changes_come_after_what_is_suggested(shapes: Path) -> None:
    loaded = load_start(str(shapes), ["overfit8"], ["training.epochs=3"])
    assert loaded.experiment.training.epochs == 3
    assert loaded.experiment.data.train.limit == 8
    assert loaded.experiment.data.root == shapes


def test_a_recipe_wins_over_a_folder_of_its_name(shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(shapes, tmp_path / "faster_rcnn")
    monkeypatch.chdir(tmp_path)
    loaded = load_start("faster_rcnn")
    assert loaded.experiment == load_experiment("faster_rcnn").experiment
    assert loaded.notes == (
        '"faster_rcnn" is a recipe and a folder; the recipe is taken, the folder is written ./faster_rcnn',
    )
    for folder in ("./faster_rcnn", Path("faster_rcnn")):
        assert load_start(folder).experiment.data.root == Path("faster_rcnn")


def test_run_folders_files_and_recipes_start_as_before(tmp_path: Path) -> None:
    (tmp_path / "experiment.yaml").write_text("seed: 7\n")
    assert load_start(tmp_path).experiment.seed == 7
    assert load_start(tmp_path / "experiment.yaml").experiment.seed == 7
    assert load_start("faster_rcnn") == load_experiment("faster_rcnn")


def test_clothing_gets_a_classifier(shared_data: Path) -> None:
    suggestion = suggest(shared_data / "clothing", Wishes("tiny-convnext", gpu=False))
    first, classes, pictures = suggestion.describe()
    assert first.endswith("clothing: ImageFolder; pictures: 341 train, 372 val")
    assert classes.startswith("341 training pictures of 10 classes: ")
    assert pictures.endswith(" px")
    experiment = suggestion.experiment
    assert (experiment.head.kind, experiment.data.size, experiment.data.resize) == ("linear_classifier", 128, "middle")
    assert experiment.training.batch_size == 16
    with pytest.raises(SettingsError, match="--head: detr learns from boxes; the labels are classes, so use linear_c"):
        suggest(shared_data / "clothing", Wishes(head="detr"))
