"""Combinations: each is a checked experiment, settings of other kinds are left out, mistakes come all at once."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from dinotune import config
from dinotune.errors import SettingsError
from dinotune.starting.suggestion import Suggestion, suggest
from dinotune.sweeping.combinations import Combination, Source, combine
from dinotune.sweeping.grammar import parse

RECIPES: dict[str, Source] = {"bccd_detr": "bccd_detr", "bccd_faster_rcnn": "bccd_faster_rcnn"}


def combined(*words: str, names: Sequence[str] = ("bccd_detr",), modifiers: Sequence[str] = ()) -> list[Combination]:
    return combine({name: RECIPES[name] for name in names}, modifiers, parse(words))[0]


def test_every_combination_those_with_the_first_seed_first() -> None:
    found = combined("training.learning_rate=1e-4,2e-4", "seed=5,6", "training.epochs=3")
    assert [one.label for one in found] == [
        "training.learning_rate=1e-4 seed=5",
        "training.learning_rate=2e-4 seed=5",
        "training.learning_rate=1e-4 seed=6",
        "training.learning_rate=2e-4 seed=6",
    ]
    experiments = [one.experiment for one in found]
    assert [(one.training.learning_rate, one.seed) for one in experiments] == [
        (1e-4, 5),
        (2e-4, 5),
        (1e-4, 6),
        (2e-4, 6),
    ]
    assert {one.training.epochs for one in experiments} == {3}
    assert all(one.data.root is not None and one.data.root.is_absolute() for one in experiments)


def test_several_experiments_are_an_axis() -> None:
    found = combined("training.epochs=3", names=("bccd_detr", "bccd_faster_rcnn"), modifiers=["cpu"])
    assert [(one.label, one.experiment.head.kind, one.experiment.device) for one in found] == [
        ("bccd_detr", "detr", "cpu"),
        ("bccd_faster_rcnn", "faster_rcnn", "cpu"),
    ]


def test_settings_of_other_kinds_are_left_out_and_said() -> None:
    words = parse(["head=faster_rcnn,detr", "head.queries=33", "head.hidden=64", "head.channels=16"])
    (rcnn, detr), notes = combine({"faster_rcnn": "faster_rcnn"}, (), words)
    assert isinstance(rcnn.experiment.head, config.FasterRcnn)
    assert isinstance(detr.experiment.head, config.Detr)
    assert (rcnn.experiment.head.hidden, rcnn.experiment.head.channels) == (64, 16)
    assert (detr.experiment.head.queries, detr.experiment.head.channels) == (33, 16)
    said = "\n".join(notes)
    assert "head=faster_rcnn:\n  head: queries" in said
    assert "head=detr:\n  head: hidden" in said


def test_names_of_folders_differ_and_are_no_settings() -> None:
    values = "[1,2],[2,1],last,facebook/dinov2-small,-1,1,{blocks: 1}," + "x" * 300
    words = parse([f"backbone.blocks={values}", "seed=0,1"])
    experiment = config.Experiment()
    axes = [(block, seed) for block in words.axes["backbone.blocks"] for seed in words.axes["seed"]]
    names = [Combination({"backbone.blocks": block, "seed": seed}, experiment).name for block, seed in axes]
    assert len(set(names)) == len(names)
    assert names[4] == "blocks-last,seed-0"
    assert [name for name in names if "=" in name or "/" in name or len(name) > 80] == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["sed=0,1", "training.epoch=3"], ['sed: unknown key; did you mean "seed"?', 'training.epoch: unknown key; did you mean "epochs"?']),
        (["head=detr,dter"], ["head=dter:\n  head", 'did you mean "detr"?']),
        (["seed=0,-1", "training.learning_rate=1,x"], ["seed=-1 training.learning_rate=1; seed=-1 training.learning_rate=x:\n  seed: -1 is wrong", 'learning_rate: "x" is wrong']),
        (["head=detr,faster_rcnn", "head.qeries=3"], ['head.qeries: unknown key; did you mean "queries"?']),
        (["head.hidden=3", "seed=0,1"], ["head.hidden: unknown key"]),
        (["head=detr,faster_rcnn", "training.momentum=3"], ["training.momentum: unknown key"]),
        (["head=detr,faster_rcnn", "training.optimizer.momentum=0.5"], ["training.optimizer.momentum: unknown key"]),
        (["head=detr,faster_rcnn", "head.queries=20,30"], ["head=faster_rcnn head.queries=20; head=faster_rcnn head.queries=30: the same training twice"]),
        (["training.clip=3,3.0"], ["training.clip=3; training.clip=3.0: the same training twice"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_of_all_at_once(words: list[str], expected: list[str]) -> None:
    with pytest.raises(SettingsError) as error:
        combined(*words)
    for line in expected:
        assert line in str(error.value)


def test_a_problem_of_all_is_said_once() -> None:
    with pytest.raises(SettingsError) as error:
        combined("seed=0,1,2,3", "training.epoch=3")
    assert str(error.value).count("training.epoch") == 1
    assert "seed=" not in str(error.value)


def test_a_folder_is_looked_at_once(shapes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = []

    def look(path: Path) -> Suggestion:
        looked_at.append(path)
        return suggest(path)

    monkeypatch.setattr("dinotune.sweeping.combinations.suggest", look)
    found, _ = combine({"folder": str(shapes)}, (), parse(["seed=0,1", "backbone=tiny-dinov3"]))
    assert looked_at == [shapes]
    assert [one.experiment.data.root for one in found] == [shapes, shapes]
