"""The rules from a survey to settings, on surveys made by hand."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dinotune.config.experiment import Experiment
from dinotune.config.heads.faster_rcnn import FasterRcnn
from dinotune.config.heads.query_head import QueryHead
from dinotune.config.loading import load_experiment
from dinotune.errors import SettingsError
from dinotune.starting.choices import Wishes, choose
from dinotune.starting.folder import Found
from dinotune.starting.page import page, tree
from dinotune.starting.survey import Count, Survey

HEADS = ["faster_rcnn", "detr", "deformable_detr", "plain_detr"]


def counted(
    sides: Sequence[float] = (100,), hw: tuple[int, int] = (480, 640), pictures: int = 200, most: int = 10
) -> Survey:
    """Pictures of one size, with these sides of objects in pixels."""
    object_sides = np.array(sides, np.float64)
    return Survey(
        found=Found(Path("data/helmets"), "coco"),
        counts={"train": Count(pictures, len(sides)), "val": Count(40, 80)},
        has="boxes",
        held_out=False,
        classes={"helmet": len(sides)},
        picture_hw=hw,
        object_sides=object_sides,
        object_shares=object_sides / min(hw),
        most_objects=most,
        broken=0,
        notes=(),
    )


def chosen(survey: Survey, **wishes: Any) -> dict[str, Any]:
    return {choice.key: choice.value for choice in choose(survey, Wishes(**wishes))}


@pytest.mark.parametrize(
    ("sides", "hw", "gpu", "size"),
    [
        ((100,), (480, 640), True, 480),  # the pictures' own
        ((400,), (2000, 3000), True, 640),  # large objects need no more than usual
        ((32,), (2000, 3000), True, 896),  # 14 px per patch / 32 px * 2000 px = 875, in steps of 32
        ((10,), (2000, 3000), True, 1024),  # as much as a GPU is asked for
        ((10,), (600, 900), True, 600),  # never more than there is
        ((400,), (2000, 3000), False, 320),
        ((75,), (2000, 3000), False, 384),  # 14 / 75 * 2000 = 373
        ((10,), (2000, 3000), False, 448),
        ((10,), (128, 128), False, 128),
    ],
)
def test_size(sides: tuple[float, ...], hw: tuple[int, int], gpu: bool, size: int) -> None:
    assert chosen(counted(sides, hw), gpu=gpu)["data.size"] == size


def test_most_objects_cover_a_patch_where_the_pictures_allow_it() -> None:
    survey = counted(np.linspace(20, 200, 50).tolist(), (1500, 1500))
    size = chosen(survey)["data.size"]
    assert (survey.object_shares * size >= 14).mean() >= 0.9
    assert size < 1500


@pytest.mark.parametrize(
    ("sides", "hw", "reason"),
    [
        ((22,), (640, 640), "objects are 22 px in the median; at 640 they cover 1.6 patches"),
        ((7,), (640, 640), "cover 0.5 patches, a tenth less than one: all the pixels there are"),
        ((7,), (2048, 2048), "at 1024 they cover 0.2 patches, a tenth less than one: 4096 would be enough for them"),
    ],
)
def test_size_gives_its_reason(sides: tuple[float, ...], hw: tuple[int, int], reason: str) -> None:
    (size,) = (choice for choice in choose(counted(sides, hw), Wishes()) if choice.key == "data.size")
    assert reason in size.reason


@pytest.mark.parametrize(
    ("pictures", "gpu", "head", "epochs", "batch"),
    [
        (200, True, "faster_rcnn", 60, 4),
        (200, True, "detr", 180, 4),
        (200, False, "faster_rcnn", 15, 2),
        (20, True, "faster_rcnn", 300, 4),
        (3, True, "faster_rcnn", 300, 3),
        (100_000, True, "faster_rcnn", 12, 8),
    ],
)
def test_epochs_and_batch(pictures: int, gpu: bool, head: str, epochs: int, batch: int) -> None:
    settings = chosen(counted(pictures=pictures), gpu=gpu, head=head)
    assert (settings["training.epochs"], settings["training.batch_size"]) == (epochs, batch)


@pytest.mark.parametrize(("most", "slots"), [(1, 100), (100, 100), (101, 150), (151, 200), (2000, 2500)])
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("gpu", [True, False])
def test_the_fullest_picture_fits(most: int, slots: int, head: str, gpu: bool) -> None:
    experiment = loaded(counted(most=most), head=head, gpu=gpu)
    assert isinstance(experiment.head, FasterRcnn | QueryHead)
    assert experiment.head.slots == slots
    assert experiment.evaluation.max_detections == slots
    if isinstance(experiment.head, FasterRcnn):
        assert experiment.head.rpn_proposals_predict >= most
        assert experiment.head.rpn_candidates_predict >= most
    else:
        assert experiment.head.queries >= most


def loaded(survey: Survey, **wishes: Any) -> Experiment:
    return load_experiment(tree(choose(survey, Wishes(**wishes))), environ={}).experiment


def test_anchors_reach_down_to_small_objects() -> None:
    survey = counted(np.geomspace(6, 90, 101).tolist(), (512, 512))
    anchors = chosen(survey)["head.anchor_sizes"]
    (smallest,), *_, (largest,) = anchors
    assert len(anchors) == 5
    assert smallest == round(6 * 15**0.1)
    assert largest == round(6 * 15**0.9)
    assert "head.anchor_sizes" not in chosen(counted((100,)))
    assert "head.anchor_sizes" not in chosen(survey, head="detr")


@pytest.mark.parametrize(("side", "gpu", "goes"), [(14, False, True), (13, False, False), (14, True, False)])
def test_the_finest_level_goes_where_no_object_needs_it(side: float, gpu: bool, goes: bool) -> None:
    """Two cells of half a patch of 14 px are 14 px."""
    experiment = loaded(counted((side,), (320, 320)), gpu=gpu)
    assert isinstance(experiment.head, FasterRcnn)
    assert experiment.head.stride_factors == ((0.5, 1, 2, 4) if goes else (0.25, 0.5, 1, 2, 4))
    anchors = experiment.head.anchor_sizes
    assert anchors is not None
    assert len(anchors) == len(experiment.head.stride_factors)


@pytest.mark.parametrize(
    ("backbone", "sides", "tiny"),
    [
        ("tiny-dinov3", (100,), {"width": 192, "depth": 4, "patch_size": 16}),
        ("tiny-dinov2", (10,), {"width": 128, "depth": 4, "patch_size": 8}),
        ("tiny-convnext", (10,), None),
    ],
)
def test_random_weights_learn(backbone: str, sides: tuple[float, ...], tiny: dict[str, int] | None) -> None:
    settings = chosen(counted(sides), backbone=backbone)
    assert settings.get("backbone.tiny") == tiny
    assert settings["backbone.trainable"] == "all"
    assert settings["training.learning_rate"] == 1e-3
    assert "backbone.trainable" not in chosen(counted())


def test_a_held_out_share_is_said() -> None:
    survey = replace(counted(), held_out=True, counts={"train": Count(160, 320), "val": Count(40, 80)})
    (share,) = (choice for choice in choose(survey, Wishes()) if choice.key == "data.validation_share")
    assert share.value == 0.2
    assert share.reason == "no validation split: 40 of 200 pictures are held out"
    assert "data.validation_share" not in chosen(counted())


@pytest.mark.parametrize(
    ("root", "name"),
    [("data/my helmets (2)", "my_helmets_2"), ("..", None), ("größe", "gr_e"), ("图", "experiment"), ("none", "none")],
)
def test_name_and_root_load_whatever_the_folder_is_called(
    root: str, name: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    experiment = loaded(replace(counted(), found=Found(Path(root), "coco")))
    assert experiment.data.root == Path(root)
    assert name is None or experiment.name == name


def test_unknown_head() -> None:
    with pytest.raises(
        SettingsError,
        match=r'no "yolo"; the labels are boxes, so use faster_rcnn or detr or deformable_detr or plain_detr$',
    ):
        choose(counted(), Wishes(head="yolo"))


@pytest.mark.parametrize("gpu", [True, False])
@pytest.mark.parametrize("head", HEADS)
def test_page_loads_back_and_fits_one_screen(head: str, gpu: bool, tmp_path: Path) -> None:
    survey = replace(counted((9, 50), most=150), found=Found(Path('odd "name" # \n none'), "voc"), held_out=True)
    choices = choose(survey, Wishes("tiny-dinov3", head, gpu))
    text = page(["data/odd\nname: 'x' # y"], choices)
    (tmp_path / "page.yaml").write_text(text, encoding="utf-8")
    assert load_experiment(tmp_path / "page.yaml", environ={}) == load_experiment(tree(choices), environ={})
    lines = text.splitlines()
    assert len(lines) <= 40
    settings = [line for line in lines if line and not line.startswith("#") and not line.endswith(":")]
    assert len(settings) == len(choices)
    assert all("  # " in line for line in settings), "each with its reason"
