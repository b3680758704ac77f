"""Neighbours against a loop, logistic regression at its minimum, linear classifiers each as if alone."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from dinotune import config
from dinotune.heads.linear_classifier import LinearClassifierHead
from dinotune.probing.features import PooledFeatures
from dinotune.probing.linear import train_linear
from dinotune.probing.logistic import minimise, regress
from dinotune.probing.neighbours import vote

CLASSES, WIDTH = 4, 6


def features(count: int, seed: int = 0) -> PooledFeatures:
    """Points around a centre per class."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(CLASSES, WIDTH, generator=torch.Generator().manual_seed(9))
    labels = torch.randint(0, CLASSES, (count,), generator=generator)
    cls, patches = (centres[labels] + torch.randn(count, WIDTH, generator=generator) for _ in range(2))
    return PooledFeatures(cls, torch.cat([cls, patches], 1), labels, torch.arange(count))


def make_head(smoothing: float = 0.0) -> LinearClassifierHead:
    torch.manual_seed(0)
    return LinearClassifierHead(config.LinearClassifier(label_smoothing=smoothing), (WIDTH,), (16,), CLASSES)


@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_neighbours_vote_as_in_a_loop(temperature: float) -> None:
    train, asked = features(30), features(8, seed=1)
    found = vote(train, asked, (1, 5, 100), temperature, CLASSES)
    assert list(found) == [1, 5, 100]
    for k, shares in found.items():
        for row in range(len(asked)):
            likeness = [nn.functional.cosine_similarity(asked.cls[row], known, dim=0).item() for known in train.cls]
            nearest = sorted(range(30), key=lambda number: -likeness[number])[:k]
            votes = [0.0] * CLASSES
            for number in nearest:
                votes[int(train.labels[number])] += math.exp(likeness[number] / temperature)
            assert shares[row].tolist() == pytest.approx([share / sum(votes) for share in votes], abs=1e-5)


def test_many_pictures_are_compared_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = vote(features(30), features(20, seed=1), (5,), 0.07, CLASSES)[5]
    monkeypatch.setattr("dinotune.probing.neighbours.CHUNK", 7)
    torch.testing.assert_close(vote(features(30), features(20, seed=1), (5,), 0.07, CLASSES)[5], whole)


@pytest.mark.parametrize("penalty", [1.0, 1e-2])
def test_regression_ends_where_the_gradient_is_zero(penalty: float) -> None:
    train = features(60)
    points = train.pooled.double()
    weights = points.new_zeros(CLASSES, 2 * WIDTH, requires_grad=True)
    bias = points.new_zeros(CLASSES, requires_grad=True)
    minimise(points, train.labels, weights, bias, penalty)
    with torch.no_grad():
        error = nn.functional.linear(points, weights, bias).softmax(1) - nn.functional.one_hot(train.labels, CLASSES)
        gradient = error.T @ points / 60 + penalty * weights
    assert gradient.abs().max() < 1e-5
    assert error.mean(0).abs().max() < 1e-5


def test_regressions_come_in_the_order_asked_for_and_differ() -> None:
    answers = regress(features(60), features(10, seed=1), (1e-3, 1.0), CLASSES)
    assert list(answers) == [1e-3, 1.0]
    assert all(torch.allclose(shares.sum(1), torch.ones(10)) for shares in answers.values())
    assert answers[1e-3].max() > answers[1.0].max(), "a strong penalty leaves nothing sure"


@pytest.mark.parametrize("views", [1, 2])
def test_each_linear_classifier_ends_as_if_trained_alone(views: int) -> None:
    rates = (1.0, 0.1, 0.01)
    shown = [features(50, seed=view) for view in range(views)]
    together = [make_head(0.1) for _ in rates]
    train_linear(together, shown, config.Probe(epochs=5, batch_size=16, learning_rates=rates), seed=3)
    for head, rate in zip(together, rates, strict=True):
        alone = make_head(0.1)
        train_linear([alone], shown, config.Probe(epochs=5, batch_size=16, learning_rates=(rate,)), seed=3)
        torch.testing.assert_close(head.classify.weight, alone.classify.weight)
    assert not torch.allclose(together[0].classify.weight, together[2].classify.weight, atol=1e-3)


def test_steps_are_those_of_momentum_and_cosine() -> None:
    """Three steps of one batch, written out: v = .9 v + g, w -= lr (1 + cos(pi t / 3)) / 2 v."""
    train, head = features(32), make_head()
    by_hand = copy.deepcopy(head)
    train_linear([head], [train], config.Probe(epochs=3, batch_size=32, learning_rates=(8.0,)), seed=0)
    velocity = torch.zeros_like(by_hand.classify.weight), torch.zeros_like(by_hand.classify.bias)
    for step in range(3):
        loss = nn.functional.cross_entropy(by_hand.classify(train.pooled), train.labels)
        parameters = (by_hand.classify.weight, by_hand.classify.bias)
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for parameter, gradient, speed in zip(parameters, gradients, velocity, strict=True):
                speed.mul_(0.9).add_(gradient)
                parameter.sub_(8.0 * 32 / 256 * (1 + math.cos(math.pi * step / 3)) / 2 * speed)
    torch.testing.assert_close(head.classify.weight, by_hand.classify.weight)
    torch.testing.assert_close(head.classify.bias, by_hand.classify.bias)


def test_regression_does_not_hang_on_the_scale_of_features() -> None:
    train, asked = features(60), features(10, seed=1)
    larger = [replace(each, pooled=each.pooled * 1000 + 5) for each in (train, asked)]
    plain, scaled = regress(train, asked, (1e-2,), CLASSES), regress(larger[0], larger[1], (1e-2,), CLASSES)
    torch.testing.assert_close(scaled[1e-2], plain[1e-2], rtol=1e-3, atol=1e-4)


def test_rates_are_for_256_pictures_per_step() -> None:
    """One step of plain gradient descent; with the momentum's first step being the gradient."""
    train, head = features(32), make_head()
    before = copy.deepcopy(head)
    train_linear([head], [train], config.Probe(epochs=1, batch_size=64, learning_rates=(0.8,)), seed=0)
    loss = nn.functional.cross_entropy(before.classify(train.pooled), train.labels)
    (gradient,) = torch.autograd.grad(loss, before.classify.weight)
    torch.testing.assert_close(head.classify.weight, before.classify.weight - 0.8 * 32 / 256 * gradient)
