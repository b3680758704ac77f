"""Sources of settings, their order, and what is said when they are wrong."""

from pathlib import Path
from textwrap import dedent

import pytest

from dinotune import config
from dinotune.config.loading import load_experiment
from dinotune.errors import SettingsError

RECIPE = "coco_faster_rcnn"


def load(*overrides: str, source: str | Path = RECIPE, **environ: str) -> config.Experiment:
    return load_experiment(source, overrides=overrides, environ=environ).experiment


def problems(*overrides: str, source: str | Path = RECIPE, **environ: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(*overrides, source=source, **environ)
    return str(caught.value).splitlines()


def page(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(dedent(text), encoding="utf-8")
    return path


def test_later_sources_win(tmp_path: Path) -> None:
    file = page(tmp_path, f"base: {RECIPE}\ntraining: {{epochs: 2, batch_size: 2, clip: 2, accumulate: 2}}")
    modifier = page(tmp_path, "training: {batch_size: 3, clip: 3, accumulate: 3}", "modifier.yaml")
    environ = {"DINOTUNE__TRAINING__CLIP": "4", "DINOTUNE__TRAINING__ACCUMULATE": "4"}
    training = load_experiment(file, [str(modifier)], ["training.accumulate=5"], environ).experiment.training
    assert (training.epochs, training.batch_size, training.clip, training.accumulate) == (2, 3, 4, 5)
    assert training.warmup_steps == load().training.warmup_steps != config.Training().warmup_steps


def test_environment_is_noted_and_other_variables_are_left_alone() -> None:
    environ = {"DINOTUNE__TRAINING__EPOCHS": "3", "DINOTUNE_WEIGHTS": "x", "DINOTUNE_TEST_DATA": "y"}
    loaded = load_experiment(RECIPE, environ=environ)
    assert loaded.experiment.training.epochs == 3
    assert loaded.notes == ("training.epochs = 3 (from the environment variable DINOTUNE__TRAINING__EPOCHS)",)


@pytest.mark.parametrize(
    ("overrides", "attribute", "expected"),
    [
        (["training.learning_rate=1e-4"], "training.learning_rate", 1e-4),
        (["data.train.limit=8"], "data.train.limit", 8),
        (["head=faster_rcnn", "head.channels=64"], "head.channels", 64),
        (["backbone=tiny-dinov3"], "backbone.id", "tiny-dinov3"),
        (["backbone=tiny-dinov3"], "backbone.blocks", "last"),
        (["data=../folder"], "data.root", Path("../folder")),
        (["data.root=2024"], "data.root", Path("2024")),
        (["data.root=a: b"], "data.root", Path("a: b")),
        (["data=2024"], "data.root", Path("2024")),
        (["data=2024-13-45"], "data.root", Path("2024-13-45")),
        (["data={root: 2024b, size: 64}"], "data.size", 64),
        (["data='2024'"], "data.root", Path("2024")),
        (["backbone=123"], "backbone.id", "123"),
        (["data.root=none"], "data.root", None),
        (["data.root=~/pictures"], "data.root", Path.home() / "pictures"),
        (["data.max_size=none"], "data.max_size", None),
        (["data.augmentation=none"], "data.augmentation.flip", 0),
        (["data.augmentation=none", "data.augmentation.flip=0.25"], "data.augmentation.flip", 0.25),
        (["data.augmentation.flip=0.25"], "data.augmentation.crop", 0.5),
        (["training.optimizer=sgd"], "training.optimizer", config.Sgd()),
        (["training.optimizer.momentum=0.5", "training.optimizer=sgd"], "training.optimizer.momentum", 0.5),
        (["training.epochs=3", "training.epochs=4"], "training.epochs", 4),
        (["name=007"], "name", "007"),
        (["backbone.blocks=[2, -1]"], "backbone.blocks", (2, -1)),
        (["backbone.trainable=2"], "backbone.trainable", (config.TrainableStage(blocks=2),)),
        (["backbone.trainable=none"], "backbone.trainable", ()),
        (
            ["backbone.trainable.blocks=2", "backbone.trainable.learning_rate=1e-5"],
            "backbone.trainable",
            (config.TrainableStage(blocks=2, learning_rate=1e-5),),
        ),
    ],
)
def test_key_value(overrides: list[str], attribute: str, expected: object) -> None:
    value: object = load(*overrides)
    for name in attribute.split("."):
        value = getattr(value, name)
    assert value == expected


SENTENCES = [
    ("training.epoch=3", 'training.epoch: unknown key; did you mean "epochs"?'),
    ("trainig.epochs=3", 'trainig: unknown key; did you mean "training"?'),
    ("epochs=3", 'epochs: unknown key; did you mean "training.epochs"?'),
    ("head.lr=3", 'head.lr: unknown key; did you mean "training.learning_rate"?'),
    ("optimizer=sgd", 'optimizer: unknown key; did you mean "training.optimizer"?'),
    (
        "training.optimizer.momentum=1",
        'training.optimizer.momentum: unknown key; it belongs to kind "sgd": set training.optimizer=sgd',
    ),
    (
        "data.resize=sqare",
        'data.resize: "sqare" is wrong; give keep_aspect, square or middle; did you mean "square"?',
    ),
    (
        "training.optimizer=sdg",
        'training.optimizer.kind: "sdg" is wrong; give adamw, adam or sgd; did you mean "sgd"?',
    ),
    (
        "head=rcnn",
        'head.kind: "rcnn" is wrong; give faster_rcnn, detr, deformable_detr, plain_detr, linear_classifier, linear_segmenter, mask_decoder, instance_mask_decoder or module:Class; did you mean "faster_rcnn"?',
    ),
    ("training.epochs='3'", 'training.epochs: "3" is wrong; give integer >= 1; write 3 without quotes'),
    ("training.epochs=3.0", "training.epochs: 3.0 is wrong; give integer >= 1; write 3"),
    ("training.epochs=0", "training.epochs: 0 is wrong; give integer >= 1"),
    ("training.epochs=true", "training.epochs: true is wrong; give integer >= 1"),
    ("training.learning_rate=.inf", "training.learning_rate: .inf is wrong; give number > 0"),
    (
        "training.deterministic='true'",
        'training.deterministic: "true" is wrong; give true or false; write true without quotes',
    ),
    ("data.augmentation.flip=1.5", "data.augmentation.flip: 1.5 is wrong; give number >= 0 and <= 1"),
    ("head.channels=12", "head.channels: 12 is wrong; give integer >= 8 multiple of 8"),
    (
        "backbone.blocks=2,5",
        'backbone.blocks: "2,5" is wrong; give last or quarters or non-empty list, each integer; write [2,5]',
    ),
    (
        "head.stride_factors=[1, 3]",
        "head.stride_factors: (1.0, 3.0) do not double from level to level; use e.g. [0.5, 1, 2]",
    ),
    (
        "training.epochs=2024-13-45",
        "training.epochs: 2024-13-45 is no YAML; quote it: training.epochs='\"2024-13-45\"'",
    ),
    ("data.max_skipped=-4", "data.max_skipped: -4 is wrong; give integer >= 0"),
    (
        "training.optimizer.betas=[2, -3]",
        "training.optimizer.betas: [2, -3] is wrong; give list of 2, each number >= 0 and < 1",
    ),
    (
        "backbone.trainable.blocks=[]",
        "backbone.trainable[0].blocks: [] is wrong; give integer >= 1 or all or non-empty list, each integer",
    ),
    (
        "head={stride_factors: [0.5, 1], anchor_sizes: [[8], [16, 32]]}",
        "head.anchor_sizes: the lists hold [1, 2] sides; give every level as many, at least one",
    ),
    (
        "head={stride_factors: [0.5, 1], anchor_sizes: [[], []]}",
        "head.anchor_sizes: the lists hold [0, 0] sides; give every level as many, at least one",
    ),
    ("data.train={on: 1}", "data.train.on: unknown key; there are images, annotations, limit, share, subset"),
    ("training.clip=[", "training.clip: [ is no YAML; quote it: training.clip='\"[\"'"),
    ("fast", '"fast": no setting; write key=value, e.g. training.epochs=10'),
]


@pytest.mark.parametrize(("override", "line"), SENTENCES)
def test_wrong_setting_gets_its_sentence(override: str, line: str) -> None:
    assert problems(override) == [line]


def test_all_wrong_settings_are_said_at_once() -> None:
    found = problems("training.epoch=3", "data.resize=sqare", "seed=-1", DINOTUNE__TRAINING__CLP="1")
    assert len(found) == 4
    assert 'training.clp: unknown key; did you mean "clip"? (environment variable DINOTUNE__TRAINING__CLP)' in found


def test_the_culprit_is_who_wrote_below_the_setting(tmp_path: Path) -> None:
    file = page(tmp_path, "training:\n  epochs: 3\n")
    assert problems("training.epochs.x=3", source=file) == ["training.epochs: {x: 3} is wrong; give integer >= 1"]
    variable = {"DINOTUNE__TRAINING__EPOCHS__X": "3"}
    assert problems(source=file, **variable)[0].endswith("(environment variable DINOTUNE__TRAINING__EPOCHS__X)")


def test_keys_that_yaml_reads_as_something_else_are_unknown_keys(tmp_path: Path) -> None:
    file = page(tmp_path, "on: 2\ntraining:\n  1: 3\n  yes: {no: 4}\n")
    found = problems(source=file)
    assert [line.split("; ")[0] for line in found] == [
        "training.1: unknown key", "training.yes: unknown key", "on: unknown key",
    ]  # fmt: skip
    assert [line.split("(")[-1] for line in found] == [f"{file}, line {line})" for line in (3, 4, 1)]


def test_wrong_setting_in_a_file_has_file_and_line(tmp_path: Path) -> None:
    file = page(tmp_path, "seed: 1\ntraining:\n  epochs: 3\n  batchsize: 4\ndata: {train: {limit: 0}}\n")
    assert problems(source=file) == [
        f"data.train.limit: 0 is wrong; give integer >= 1 or none ({file}, line 5)",
        f'training.batchsize: unknown key; did you mean "batch_size"? ({file}, line 4)',
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seed: [1\nname: x\n", "line 2: "),
        ("seed: 1\nseed: 2\n", "line 2: seed is written twice, first in line 1; keep one"),
        ("data:\n  root: a\n  root: b\n", "line 3: data.root is written twice, first in line 2; keep one"),
        ("- 1\n", "holds no settings"),
        ("seed: !!python/object:os.x 1\n", "line 1: "),
        ("base: 3\n", "line 1: base: give the name"),
    ],
)
def test_broken_file(tmp_path: Path, text: str, expected: str) -> None:
    (line,) = problems(source=page(tmp_path, text))
    assert line.startswith(str(tmp_path / "mine.yaml"))
    assert expected in line


def test_empty_section_means_its_defaults(tmp_path: Path) -> None:
    assert load(source=page(tmp_path, "training:\ndata:\n")) == config.Experiment()


def test_base_that_comes_back_to_itself(tmp_path: Path) -> None:
    file = page(tmp_path, f"base: {tmp_path / 'mine.yaml'}\n")
    assert "comes back to itself" in problems(source=file)[0]


@pytest.mark.parametrize(
    ("overrides", "notes"),
    [
        (["training.schedule=cosine"], ("training.schedule: steps -> cosine, which drops epochs, factor",)),
        (["training.schedule=steps"], ()),
        (["training.optimizer=sgd"], ("training.optimizer: adamw -> sgd, which drops betas",)),
        (["backbone=facebook/dinov2-small"], ("backbone: changed, which drops tiny",)),
        (["data=elsewhere"], ("data: changed, which drops train.images",)),
        (["data=elsewhere", "data.train.images=other"], ()),
    ],
)
def test_new_kind_drops_what_belonged_to_the_old_and_says_so(
    tmp_path: Path, overrides: list[str], notes: tuple[str]
) -> None:
    file = page(
        tmp_path,
        """
        backbone: {id: tiny-dinov2, tiny: {width: 32}}
        data: {root: here, train: {images: there, limit: 3}}
        training:
          optimizer: {kind: adamw, betas: [0.8, 0.9]}
          schedule: {kind: steps, epochs: [3], factor: 0.5}
        """,
    )
    loaded = load_experiment(file, (), overrides, {})
    assert loaded.notes == notes
    assert loaded.experiment.data.train.limit == 3


def test_keys_of_one_stage_among_several(tmp_path: Path) -> None:
    file = page(tmp_path, "backbone: {trainable: [{blocks: 1}, {blocks: 2, from_epoch: 3}]}")
    assert problems("backbone.trainable.from_epoch=1", source=file) == [
        "backbone.trainable: there are 2 stages, keys of which? Give the whole list: backbone.trainable=[...]"
    ]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("coco_faster_rcn", 'did you mean "coco_faster_rcnn"?'),
        ("bccd_faster", 'did you mean "bccd_faster_rcnn"?'),
        ("overfit8", "is a modifier"),
        ("./nothing.yaml", "no such YAML file"),
    ],
)
def test_unknown_experiment(source: str, expected: str) -> None:
    assert expected in problems(source=source)[0]


def test_folder_is_no_experiment_unless_it_is_a_run(tmp_path: Path) -> None:
    assert f"data={tmp_path}" in problems(source=tmp_path)[0]
    page(tmp_path, "seed: 7", "experiment.yaml")
    assert load(source=tmp_path).seed == 7


def test_unknown_modifier_and_wrong_key_come_together() -> None:
    with pytest.raises(SettingsError) as caught:
        load_experiment("coco", ["overfits"], ["x"], {})
    text = str(caught.value)
    assert 'did you mean "overfit"?' in text
    assert "coco_faster_rcnn" in text
    assert '"x": no setting' in text


def test_what_cannot_be_read_hides_no_wrong_setting() -> None:
    overrides = ["training.epoch=3", "x", "training.clip=[", "data.resize=sqare"]
    with pytest.raises(SettingsError) as caught:
        load_experiment(RECIPE, ["overfits"], overrides, {"DINOTUNE__SEED": "["})
    text = str(caught.value)
    for part in (
        'did you mean "overfit"?',
        'did you mean "epochs"?',
        '"x": no',
        'mean "square"?',
        "seed: [ is no YAML",
    ):
        assert part in text
    assert "training.clip: [ is no YAML" in text


def test_experiment_can_be_changed() -> None:
    before = config.Experiment(data=config.Data(root=Path("none")), training=config.Training(epochs=3))
    assert load_experiment(before, (), [], {}).experiment == before
    assert load_experiment(before, (), ["seed=4"], {}).experiment == before.model_copy(update={"seed": 4})


def test_a_modifier_suits_every_kind_of_head(tmp_path: Path) -> None:
    modifier = page(tmp_path, "head: {channels: 32, hidden: 64, queries: 9}", "small.yaml")
    rcnn = load_experiment("coco_faster_rcnn", [str(modifier)], [], {})
    assert (rcnn.experiment.head.channels, rcnn.experiment.head.hidden) == (32, 64)  # type: ignore[union-attr]
    assert rcnn.notes == ("head: queries left out; they are for other kinds",)
    detr = load_experiment("bccd_detr", [str(modifier)], [], {})
    assert (detr.experiment.head.channels, detr.experiment.head.queries) == (32, 9)  # type: ignore[union-attr]
    modifier.write_text("head: {chanels: 32}")
    with pytest.raises(SettingsError, match=r"head\.chanels: unknown key; did you mean .channels"):
        load_experiment("bccd_detr", [str(modifier)], [], {})
