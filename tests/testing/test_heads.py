"""The checks of heads pass a good head, and each finds the mistake that it is there for."""

import runpy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dinotune.testing import HEAD_CHECKS, check_head, head_trial
from dinotune.types import Detections, Features, Losses, Targets

CentreHead: Any = runpy.run_path(str(Path(__file__).parents[2] / "examples/own_head.py"))["CentreHead"]


class Idle(CentreHead):  # type: ignore[misc]
    """Has a parameter that nothing uses."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.idle = nn.Parameter(torch.ones(3))


class Neighbourly(CentreHead):  # type: ignore[misc]
    """Compares the pictures of a batch."""

    def predict(self, features: Features) -> Detections:
        first = features.maps[-1]
        return super().predict(replaced(features, first - first.mean(0, keepdim=True)))  # type: ignore[no-any-return]


class Empty(CentreHead):  # type: ignore[misc]
    """Divides by the number of objects."""

    def loss(self, features: Features, targets: Targets) -> Losses:
        return scaled(super().loss(features, targets), 1 / torch.tensor(sum(map(len, targets.labels))))


class Crowded(CentreHead):  # type: ignore[misc]
    """Has room for 100 objects."""

    def loss(self, features: Features, targets: Targets) -> Losses:
        full = max(map(len, targets.labels)) > 100
        return scaled(super().loss(features, targets), torch.tensor(torch.inf if full else 1))


class Shares(CentreHead):  # type: ignore[misc]
    """Predicts shares of the picture."""

    def predict(self, features: Features) -> Detections:
        found = super().predict(features)
        return Detections(found.boxes / 96, found.scores, found.labels)


class Unsorted(CentreHead):  # type: ignore[misc]
    """Gives the worst first."""

    def predict(self, features: Features) -> Detections:
        found = super().predict(features)
        return Detections(found.boxes.flip(1), found.scores.flip(1), found.labels.flip(1))


class Twofold(CentreHead):  # type: ignore[misc]
    """Evaluates another loss than it trains with."""

    def evaluate(self, features: Features, targets: Targets) -> tuple[Losses, Detections]:
        return scaled(self.loss(features, targets), torch.tensor(2)), self.predict(features)


class Coarse(CentreHead):  # type: ignore[misc]
    """Computes its losses in whatever precision surrounds it."""

    def loss(self, features: Features, targets: Targets) -> Losses:
        losses = super().loss(features, targets)
        coarse = torch.is_autocast_enabled("cpu")
        return Losses({name: value.bfloat16() if coarse else value for name, value in losses.terms.items()})


class Forgetful(CentreHead):  # type: ignore[misc]
    """Keeps what it needs where no file holds it."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.factor = torch.rand(1)

    def predict(self, features: Features) -> Detections:
        return super().predict(replaced(features, features.maps[-1] * self.factor))  # type: ignore[no-any-return]


class Undeclared(CentreHead):  # type: ignore[misc]
    """Does not say where its classes are."""

    def class_rows(self) -> dict[str, Any]:
        return {}


def replaced(features: Features, last: Tensor) -> Features:
    return Features((last,), features.strides, features.cls, features.prefix, features.image_hw)


def scaled(losses: Losses, factor: Tensor) -> Losses:
    return Losses({name: value * factor for name, value in losses.terms.items()})


MISTAKES: dict[str, tuple[Any, str]] = {
    "every_trainable_parameter_learns_and_no_other": (Idle, r"no gradient reaches head\.idle;"),
    "a_batch_predicts_what_its_pictures_predict_alone": (Neighbourly, "depend on its neighbours"),
    "pictures_without_objects_teach": (Empty, "with 0 and 0 objects in its pictures: loss_class, loss_box not finite"),
    "crowded_pictures_teach": (Crowded, "with 150 and 1 objects in its pictures: loss_class, loss_box not finite"),
    "predictions_keep_the_convention": (Shares, "give boxes in pixels, not in shares"),
    "an_evaluation_is_loss_and_prediction": (Twofold, "evaluate gives losses"),
    "losses_and_predictions_are_fp32": (Coarse, r"loss_class torch\.bfloat16"),
    "a_saved_model_predicts_the_same": (Forgetful, "register what it needs as parameter or buffer"),
    "class_rows_are_declared": (Undeclared, r"class_rows must name answer\.bias, answer\.weight"),
}


def test_a_good_head_passes() -> None:
    check_head(partial(CentreHead, {}))


def test_every_check_has_a_mistake() -> None:
    assert MISTAKES.keys() == HEAD_CHECKS.keys()


@pytest.mark.parametrize("name", MISTAKES)
def test_a_check_finds_its_mistake_and_no_other_does(name: str) -> None:
    head, message = MISTAKES[name]
    trial = head_trial(partial(head, {}))
    found = {}
    for check, run in HEAD_CHECKS.items():
        try:
            run(trial)
        except AssertionError as error:
            found[check] = error
    assert list(found) == [name]
    with pytest.raises(AssertionError, match=message):
        raise found[name]


def test_all_mistakes_are_named_at_once() -> None:
    class Both(Shares, Undeclared):
        pass

    with pytest.raises(AssertionError) as caught:
        check_head(partial(Both, {}))
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == [
        "predictions_keep_the_convention",
        "class_rows_are_declared",
    ]


def test_order_is_checked() -> None:
    checks: Callable[[Any], None] = HEAD_CHECKS["predictions_keep_the_convention"]
    with pytest.raises(AssertionError, match="not sorted, best first"):
        checks(head_trial(partial(Unsorted, {})))
