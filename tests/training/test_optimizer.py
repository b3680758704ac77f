"""Every learning parameter is in the optimiser once, with its own rate and decay, and rates follow the schedule."""

import math

import pytest
import torch

from dinotune import config
from dinotune.build import build_model
from dinotune.data.records import LabelSet
from dinotune.model import Model
from dinotune.training.optimizer import build_optimizer, learning_rate_factor, parameter_groups
from tests.training.small_runs import changed

LABELS = LabelSet(("a", "b"), (1, 2))
STAGES = "[{blocks: 1, learning_rate: 1e-5}, {blocks: [1], from_epoch: 1}, {blocks: all, from_epoch: 2}]"


def model_of(experiment: config.Experiment, *overrides: str) -> tuple[Model, config.Training]:
    experiment = changed(experiment, *overrides)
    return build_model(experiment, LABELS)[0], experiment.training


def learning_in(model: Model, epochs: int) -> dict[str, torch.nn.Parameter]:
    """Parameters that need a gradient in some epoch."""
    found: dict[str, torch.nn.Parameter] = {}
    for epoch in range(epochs):
        model.backbone.set_epoch(epoch)
        found |= {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    return found


@pytest.mark.parametrize(
    "overrides",
    [
        ["backbone.trainable=none"],
        ["backbone.trainable=1"],
        [f"backbone.trainable={STAGES}"],
        ["backbone.id=tiny-dinov2-reg", f"backbone.trainable={STAGES}"],
        ["backbone.id=tiny-dinov2", "backbone.blocks=[0, 1]", "backbone.tap_norm=batch_norm"],
        ["backbone.trainable=1", "adapter={kind: lora, dora: true}"],
        [f"backbone.trainable={STAGES}", "adapter={kind: norm_bias, blocks: 1}"],
        [
            "backbone={id: tiny-convnext, tiny: {width: 32, depth: 4}, blocks: [2, 3], tap_norm: batch_norm, trainable: 2}"
        ],
    ],
)
def test_groups_hold_what_learns_once(small_experiment: config.Experiment, overrides: list[str]) -> None:
    model, training = model_of(small_experiment, *overrides)
    groups = parameter_groups(model, training)
    grouped = [id(parameter) for group in groups for parameter in group["params"]]
    learning = learning_in(model, epochs=3)
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == {id(parameter) for parameter in learning.values()}
    assert any(name.startswith("backbone.") for name in learning) is (overrides != ["backbone.trainable=none"])
    decay = {id(parameter): group["weight_decay"] for group in groups for parameter in group["params"]}
    words = ("token", "pos_embed", "bias", "norm", "gamma")
    for name, parameter in learning.items():
        spared = parameter.ndim < 2 or any(word in name for word in words)
        assert decay[id(parameter)] == (0.0 if spared else training.weight_decay), name


def test_heads_name_what_learns_slower(small_experiment: config.Experiment) -> None:
    overrides = ["head={kind: deformable_detr, channels: 16, encoder_layers: 1, decoder_layers: 1, feedforward: 16}"]
    model, training = model_of(small_experiment, *overrides, "backbone.trainable=none")
    groups = parameter_groups(model, training)
    rates = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    for name, parameter in model.head.named_parameters():
        slower = ".offsets." in name
        assert rates[id(parameter)] == pytest.approx(training.learning_rate * (0.1 if slower else 1)), name
    assert training.weight_decay > 0


def test_an_adapter_has_its_share_of_rate_and_decay(small_experiment: config.Experiment) -> None:
    adapter = "adapter={kind: lora, dora: true, learning_rate_factor: 0.5, weight_decay_factor: 4}"
    rates = ("training.learning_rate=0.25", "training.weight_decay=0.125")
    model, training = model_of(small_experiment, "backbone.trainable=1", adapter, *rates)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found: dict[tuple[float, float], set[str]] = {}
    for group in parameter_groups(model, training):
        found.setdefault((group["lr"], group["weight_decay"]), set()).update(names[id(p)] for p in group["params"])
    assert set(found) == {(0.25, 0.125), (0.25, 0), (0.125, 0.5), (0.125, 0)}
    assert all(".lora_A." in name or ".lora_B." in name for name in found[0.125, 0.5])
    assert all(".lora_magnitude_vector." in name for name in found[0.125, 0])
    assert not any(".lora_" in name for name in found[0.25, 0.125] | found[0.25, 0])


def test_stages_have_their_own_learning_rates(small_experiment: config.Experiment) -> None:
    """The first stage that names a parameter decides; stages without a rate take the head's."""
    model, training = model_of(small_experiment, f"backbone.trainable={STAGES}", "training.learning_rate=0.25")
    rates = {id(p): group["lr"] for group in parameter_groups(model, training) for p in group["params"]}
    names = dict(model.named_parameters())
    expected = {"blocks.1.": 1e-5, "norm.": 1e-5, "blocks.0.": 0.25, "patch_embed.": 0.25}
    for start, rate in expected.items():
        found = {rates[id(p)] for name, p in names.items() if name.startswith(f"backbone.encoder.{start}")}
        assert found == {rate}, start
    assert {rates[id(parameter)] for parameter in model.head.parameters()} == {0.25}


@pytest.mark.parametrize(
    ("written", "kind", "expected"),
    [
        ("adamw", torch.optim.AdamW, {"betas": (0.9, 0.999)}),
        ("{kind: adamw, betas: [0.5, 0.75]}", torch.optim.AdamW, {"betas": (0.5, 0.75)}),
        ("adam", torch.optim.Adam, {"betas": (0.9, 0.999), "decoupled_weight_decay": False}),
        ("{kind: adam, betas: [0.5, 0.75]}", torch.optim.Adam, {"betas": (0.5, 0.75)}),
        ("sgd", torch.optim.SGD, {"momentum": 0.9, "nesterov": False}),
        ("{kind: sgd, momentum: 0.5, nesterov: true}", torch.optim.SGD, {"momentum": 0.5, "nesterov": True}),
    ],
)
def test_optimiser_is_the_one_named(
    small_experiment: config.Experiment, written: str, kind: type, expected: dict[str, object]
) -> None:
    optimizer = build_optimizer(*model_of(small_experiment, f"training.optimizer={written}"))
    assert type(optimizer) is kind
    for group in optimizer.param_groups:
        assert {name: group[name] for name in expected} == expected


@pytest.mark.parametrize("kind", ["adam", "adamw"])
def test_adam_adds_the_decay_to_the_gradient_and_adamw_to_the_step(
    small_experiment: config.Experiment, kind: str
) -> None:
    """Three steps against the equations (Kingma and Ba 2015, algorithm 1; Loshchilov and Hutter 2019, algorithm 2)."""
    overrides = (f"training.optimizer={kind}", "training.weight_decay=0.5", "training.learning_rate=0.01")
    model, training = model_of(small_experiment, *overrides)
    optimizer = build_optimizer(model, training)
    weight = model.get_parameter("head.roi_heads.box_predictor.cls_score.weight")
    expected = weight.detach().double().clone()
    mean, square = torch.zeros_like(expected), torch.zeros_like(expected)
    generator = torch.Generator().manual_seed(0)
    for step in range(1, 4):
        weight.grad = torch.randn(weight.shape, generator=generator)
        gradient = weight.grad.double() + (0.5 * expected if kind == "adam" else 0)
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        shrunk = expected * (1 - 0.01 * 0.5) if kind == "adamw" else expected
        expected = shrunk - 0.01 * (mean / (1 - 0.9**step)) / ((square / (1 - 0.999**step)).sqrt() + 1e-8)
        optimizer.step()
    torch.testing.assert_close(weight.detach(), expected.float(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("warmup", "schedule", "expected"),
    [
        # 10 epochs of 10 steps.
        (0, "cosine", {0: 1.0, 50: 0.505, 100: 0.01, 400: 0.01}),
        (20, "cosine", {0: 1 / 21, 9: 10 / 21, 19: 20 / 21, 20: 1.0, 60: 0.505, 100: 0.01}),
        (20, "{kind: cosine, final_share: 0}", {40: (1 + math.cos(math.pi / 4)) / 2, 60: 0.5, 100: 0.0}),
        (200, "cosine", {0: 1 / 26, 24: 25 / 26, 25: 1.0, 100: 0.01}),
        (4, "{kind: steps, epochs: [3, 8]}", {0: 0.2, 4: 1.0, 29: 1.0, 30: 0.1, 79: 0.1, 80: 0.01, 99: 0.01}),
        (0, "{kind: steps, epochs: [8, 3], factor: 0.5}", {0: 1.0, 30: 0.5, 80: 0.25}),
    ],
)
def test_factors_at_exact_steps(
    small_experiment: config.Experiment, warmup: int, schedule: str, expected: dict[int, float]
) -> None:
    overrides = (f"training.warmup_steps={warmup}", f"training.schedule={schedule}", "training.epochs=10")
    training = changed(small_experiment, *overrides).training
    found = {step: learning_rate_factor(step, training=training, steps_per_epoch=10) for step in expected}
    assert found == pytest.approx(expected)
