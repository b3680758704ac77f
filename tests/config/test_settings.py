"""Every setting: it has a sentence, key=value reaches it, and the written page brings it back."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dinotune import config
from dinotune.config.fields import find, walk
from dinotune.config.loading import dump_experiment, load_experiment
from dinotune.config.reference import SettingRow, experiment_schema, settings_reference
from dinotune.config.suggestions import OTHER_NAMES
from dinotune.config.yaml_file import read_layer

ROWS = settings_reference()
VALUES = {
    "name": "other",
    "device": "cpu",
    "backbone.id": "tiny-dinov3",
    "backbone.trainable": "[{blocks: all}]",
    "backbone.tiny": "{width: 96}",
    "head.stride_factors": "[0.5, 1]",
    "head.anchor_sizes": "[[8], [16], [32], [64], [128]]",
    "head.aspect_ratios": "[1]",
    "data.ignore_ids": "[0, 7]",
    "data.augmentation.crop_one_class": "0.5",
    "data.augmentation.scale_jitter": "[0.9, 1.1]",
    "data.augmentation.crop_aspect": "[0.75, 1.25]",
    "data.augmentation.sizes": "[480, 800]",
    "data.augmentation.crop_resize": "[400]",
    "data.augmentation.crop_size": "[100, 200]",
    "feature_cache.mode": "auto",
    "training.optimizer.betas": "[0.8, 0.9]",
    "training.optimizer": "sgd",
    "training.early_stopping": "5",
    "training.must_reach": "{metric: AP50, value: 0.5}",
    "head": "detr",
    "head.channels": "64",
    "head.attention_heads": "4",
    "head.class_loss": "ia_bce",
    "head.options": "{window: 5}",
    "adapter": "norm_bias",
    "adapter.layers": "[qkv, fc2]",
    "adapter.options": "{window: 5}",
    "head.auxiliary_losses": "false",
    "head.two_stage": "false",
    "head.mixed_selection": "false",
    "head.box_refinement": "false",
    "head.look_forward_twice": "false",
    "head.modulation": "false",
    "training.schedule": "{kind: steps, epochs: [1]}",
    "training.schedule.epochs": "[7]",
    "evaluation.split": "test",
}
TINY = config.Experiment(backbone=config.Backbone(id="tiny-dinov3", tiny=config.TinyShape()))
CONTEXT = {"head.class_loss": ["head=detr"]}
"""What must be set for a section itself to exist."""
CHOSEN_KINDS = {None, "", "frozen", "faster_rcnn", "adamw", "cosine"}
"""Kinds that the recipe `bccd_faster_rcnn` takes."""
ABSENT = ("backbone.trainable.", "training.early_stopping.", "training.must_reach.", "head.class_loss.")
"""Sections that it leaves out."""


def other_value(row: SettingRow) -> str:
    """A value that differs from the default."""
    if row.key in VALUES:
        return VALUES[row.key]
    plain = {"integer": "24", "number": "0.75", "path": "elsewhere", "true or false": "true"}
    for word, value in plain.items():
        if row.type.startswith(word):
            return value
    return next(word.strip(",") for word in row.type.split() if word.strip(",") not in (row.default, "or"))


def reached(experiment: config.Experiment, row: SettingRow) -> Any:
    value: Any = experiment if not row.key.startswith("backbone.tiny.") or experiment.backbone.tiny else TINY
    for name in row.key.split("."):
        value = getattr(value[0] if isinstance(value, tuple) else value, name)
    return value


PREFIX_CONTEXT = {
    "backbone.tiny": "backbone=tiny-dinov3",
    "backbone.trainable.": "backbone.trainable.blocks=1",
    "data.augmentation.square_crops": "data.augmentation.crop=1",
    "training.must_reach.": "training.must_reach={metric: AP50, value: 0.5}",
    "training.early_stopping.": "training.early_stopping=5",
    "adapter.hidden": "adapter={kind: daga, variant: v1}",
}


def context(row: SettingRow) -> list[str]:
    """What must be set for the setting to exist at all."""
    for prefix, words in PREFIX_CONTEXT.items():
        if row.key.startswith(prefix):
            return [words]
    section, _, _ = row.key.rpartition(".")
    if row.kind == "steps":
        return ["training.schedule={kind: steps, epochs: [1]}"]
    return [*CONTEXT.get(section, []), f"{section}={row.kind}"] if row.kind else []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.key)
def test_setting_has_a_sentence_is_reached_and_comes_back(row: SettingRow, tmp_path: Path) -> None:
    assert row.sentence.endswith(".")
    before = load_experiment(config.Experiment(), (), context(row), {}).experiment
    after = load_experiment(before, (), [f"{row.key}={other_value(row)}"], {}).experiment
    assert reached(after, row) != reached(before, row)
    path = tmp_path / "experiment.yaml"
    path.write_text(dump_experiment(after), encoding="utf-8")
    assert load_experiment(path, environ={}).experiment == after


def test_written_page_holds_every_setting(tmp_path: Path) -> None:
    experiment = load_experiment("bccd_faster_rcnn", environ={}).experiment
    path = tmp_path / "experiment.yaml"
    path.write_text(dump_experiment(experiment), encoding="utf-8")
    written = {".".join(key) for key in read_layer(path).places}
    places = list(walk(config.Experiment))
    absent = {place.key for place in places if place.key.startswith(ABSENT)}
    chosen = {place.key for place in places if place.kind in CHOSEN_KINDS} - absent
    assert chosen <= written
    assert {place.key for place in places} - written == {place.key for place in places} - chosen


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
paths = st.none() | texts.map(Path).filter(lambda path: not str(path).startswith("~"))
experiments = st.builds(
    config.Experiment,
    seed=st.integers(0, 2**40),
    backbone=st.builds(
        config.Backbone,
        id=texts.filter(lambda text: not text.startswith("tiny-")),
        blocks=st.lists(st.integers(-40, 40), min_size=1).map(tuple) | st.sampled_from(["last", "quarters"]),
        trainable=st.lists(
            st.builds(
                config.TrainableStage,
                blocks=st.integers(1, 9) | st.just("all") | st.lists(st.integers(-3, 3), min_size=1).map(tuple),
                learning_rate=st.none() | st.floats(1e-30, 1e30),
            ),
            max_size=3,
        ).map(tuple),
        tiny=st.none(),
    ),
    data=st.builds(config.Data, root=paths, train=st.builds(config.Split, images=paths, annotations=paths)),
    training=st.builds(
        config.Training,
        learning_rate=st.floats(1e-30, 1e30),
        clip=st.floats(0, 1e9),
        optimizer=st.builds(config.Adamw) | st.builds(config.Sgd, momentum=st.floats(0, 1, exclude_max=True)),
        schedule=st.builds(config.Cosine, final_share=st.floats(0, 1))
        | st.builds(config.Steps, epochs=st.lists(st.integers(1, 99), min_size=1).map(tuple)),
    ),
)


@settings(max_examples=60, deadline=None)
@given(experiment=experiments)
def test_page_loads_back_to_an_equal_experiment(
    experiment: config.Experiment, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "experiment.yaml"
    path.write_text(dump_experiment(experiment), encoding="utf-8", newline="")
    assert load_experiment(path, environ={}).experiment == experiment


def test_schema_describes_every_setting() -> None:
    schema = experiment_schema()
    for name, section in {"Experiment": schema, **schema["$defs"]}.items():
        for key, entry in section["properties"].items():
            assert entry.get("description"), f"{name}.{key}"
    assert schema["additionalProperties"] is False


def test_words_of_other_projects_lead_to_settings_that_exist() -> None:
    assert {key for key in OTHER_NAMES.values() if find(config.Experiment, key.split(".")) is None} == set()
