"""Every recipe and modifier that comes with the package is valid, counted, and opens with what it is."""

import re
from pathlib import Path

import pytest

from dinotune import config
from dinotune.adapters.blocks import resolve_after
from dinotune.config.loading import load_experiment
from dinotune.config.recipes import MODIFIERS, RECIPES, header, names

NUMBER_OF_RECIPES = 36
NUMBER_OF_MODIFIERS = 11
ALL = [(name, folder) for folder in (RECIPES, MODIFIERS) for name in names(folder)]


def test_none_is_lost() -> None:
    assert len(names()) == NUMBER_OF_RECIPES
    assert len(names(MODIFIERS)) == NUMBER_OF_MODIFIERS
    assert len(list(RECIPES.rglob("*.*"))) == len(ALL)


@pytest.mark.parametrize("name", names())
def test_recipe_is_valid_and_bears_its_name(name: str) -> None:
    loaded = load_experiment(name, environ={})
    assert loaded.experiment.name == name
    assert loaded.notes == ()


@pytest.mark.parametrize("name", names(MODIFIERS))
def test_modifier_is_valid_after_every_recipe_and_changes_it(name: str) -> None:
    for recipe in names():
        plain = load_experiment(recipe, environ={}).experiment
        assert load_experiment(recipe, [name], environ={}).experiment != plain


@pytest.mark.parametrize(("name", "folder"), ALL, ids=lambda value: value if isinstance(value, str) else "")
def test_recipe_opens_with_what_it_is(name: str, folder: Path) -> None:
    what, command, time, score, *_ = header(name, folder)
    assert what.endswith(".")
    assert re.fullmatch(r"command: dinotune (train \w+|quickstart).*", command)
    assert name in command
    assert time.startswith("time: ")
    assert score.startswith("score: ")


def test_modifier_commands_load() -> None:
    for name, folder in ALL:
        words = header(name, folder)[1].removeprefix("command: dinotune ").split()
        if words[0] == "train":
            arguments = words[1:]
            overrides = [word for word in arguments if "=" in word]
            load_experiment(arguments[0], [word for word in arguments[1:] if "=" not in word], overrides, {})


def test_three_levels_are_as_published() -> None:
    experiment = load_experiment("dinov3_faster_rcnn_three_levels", environ={}).experiment
    head = experiment.head
    assert isinstance(head, config.FasterRcnn)
    assert head.anchor_sizes == ((32, 64, 128), (64, 128, 256), (128, 256, 512))
    assert len(head.stride_factors) == 3
    assert (experiment.data.size, experiment.data.max_size) == (640, 960)
    training = experiment.training
    assert (training.epochs, training.batch_size, training.learning_rate, training.clip) == (10, 2, 5e-4, 1.0)
    assert experiment.backbone.trainable == ()


def test_detr_is_as_published() -> None:
    experiment = load_experiment("dinov3_detr", environ={}).experiment
    head, training = experiment.head, experiment.training
    assert isinstance(head, config.Detr)
    assert isinstance(head.class_loss, config.CrossEntropy)
    assert (head.channels, head.encoder_layers, head.decoder_layers, head.queries) == (256, 6, 6, 100)
    assert (head.cost_l1, head.cost_giou, head.class_loss.cost_class) == (5, 2, 1)
    assert head.class_loss.no_object_weight == 0.1
    assert experiment.data.augmentation.sizes == tuple(range(480, 801, 32))
    assert (training.epochs, training.learning_rate, training.weight_decay, training.clip) == (300, 1e-4, 1e-4, 0.1)
    (stage,) = experiment.backbone.trainable
    assert (stage.blocks, stage.from_epoch, stage.learning_rate) == ("all", 100, 1e-5)
    short = load_experiment("dinov3_detr_5k", environ={}).experiment
    assert (short.training.epochs, short.data.train.limit, short.backbone.trainable) == (50, 5000, ())
    decoder_only = load_experiment("dinov3_detr_decoder_only", environ={}).experiment.head
    assert isinstance(decoder_only, config.Detr)
    assert decoder_only.encoder_layers == 0


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "imagenet100", "dinov3_daga"])
def test_classifiers_are_as_published(name: str) -> None:
    experiment = load_experiment(f"{name}_linear_classifier", environ={}).experiment
    head, optimizer, schedule = experiment.head, experiment.training.optimizer, experiment.training.schedule
    assert isinstance(head, config.LinearClassifier)
    assert (head.pooling, head.label_smoothing) == ("cls_and_patches", 0.1)
    assert isinstance(optimizer, config.Sgd)
    assert (optimizer.momentum, optimizer.nesterov, schedule.kind) == (0.9, True, "cosine")
    assert experiment.data.size == 224


@pytest.mark.parametrize(
    ("recipe", "blocks", "wanted"),
    [
        ("dinov3_daga_linear_classifier", "classification", (1, 2, 10, 11)),
        ("dinov3_daga_detr", "detection", (1, 2, 10, 11)),
        ("dinov3_daga_detr", "segmentation", (8, 9, 10, 11)),
        ("dinov3_daga_detr", "last", (11,)),
    ],
)
def test_daga_has_the_layers_of_its_authors(recipe: str, blocks: str, wanted: tuple[int, ...]) -> None:
    words = ["adapter.variant=v2", f"adapter.blocks={blocks}"]
    adapter = load_experiment(recipe, (), words, {}).experiment.adapter
    assert isinstance(adapter, config.Daga)
    assert resolve_after(adapter.blocks, depth=12, deepest=11) == wanted
