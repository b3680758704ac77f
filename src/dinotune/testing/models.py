"""Checks of a whole model, backbone and adapter and head: what training and prediction rely on."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from dinotune import config
from dinotune.backbones.base import Backbone
from dinotune.model import KEY_BIAS, Model
from dinotune.testing.batches import random_batch
from dinotune.testing.predictions import check_convention, is_same, joined, what_differs
from dinotune.testing.tools import awake, by_name, named, require
from dinotune.types import Targets

TINY = config.Backbone(id="tiny-dinov3", tiny=config.TinyShape(width=32, depth=2))
"""What heads and adapters are tried on, unless told otherwise."""

SIZE_HW = (64, 96)
"""Sides of the pictures, at the least; not square, so that height and width cannot change places."""


def size_for(model: Model | Backbone) -> tuple[int, int]:
    """The smallest height and width from `SIZE_HW` on that the model takes."""
    height, width = (-(-side // model.size_multiple) * model.size_multiple for side in SIZE_HW)
    return height, width


@dataclass(frozen=True)
class ModelTrial:
    """A kind of model to try."""

    make: Callable[[int], Model]
    """Makes a model with fresh random weights for this many classes."""
    classes: int = 3
    many: int = 150
    """Objects in a crowded picture: more than the head has queries or slots."""

    def model(self, *, seed: int = 0, classes: int | None = None) -> Model:
        """A fresh model in eval mode, without zeros that would hide what lies behind them."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = self.make(classes or self.classes)
        awake(model, seed)
        return model.eval()

    def batch(self, *objects: int, model: Model) -> tuple[Tensor, Targets]:
        """Pictures with these numbers of objects, of a size that the model takes."""
        return random_batch(objects, self.classes, size_for(model))


def every_trainable_parameter_learns_and_no_other(trial: ModelTrial) -> None:
    """A training step reaches all of head, adapter and trainable blocks, and leaves the rest of the backbone as it was."""
    model = trial.model().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    images, targets = trial.batch(3, 1, 4, model=model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        total = model.loss(images, targets).total
    require(total.requires_grad, "the loss depends on nothing that learns")
    total.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    idle = [name for name in learning if (grad := gradients[name]) is None or not grad.norm() > 0]
    idle = sorted(name for name in idle if not KEY_BIAS.search(name))
    require(not idle, f"no gradient reaches {named(idle)}; is each used in `loss`, without no_grad or detach?")
    torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1).step()
    after = model.state_dict()
    frozen = [name for name in before if name.startswith("backbone.encoder.") and name not in learning]
    moved = [name for name in frozen if not torch.equal(before[name], after[name])]
    require(not moved, f"frozen, but changed by a training step: {named(moved)}")


def a_batch_predicts_what_its_pictures_predict_alone(trial: ModelTrial) -> None:
    """In eval mode, a batch of 3 equals three batches of 1."""
    model = trial.model()
    images, _ = trial.batch(2, 0, 3, model=model)
    with torch.no_grad():
        together = model.predict(images)
        alone = [model.predict(images[index : index + 1]) for index in range(3)]
    found = what_differs(together, joined(alone))
    require(not found, f"a picture's predictions depend on its neighbours in the batch: {found}")


def pictures_without_objects_teach(trial: ModelTrial) -> None:
    """Empty pictures, and batches of nothing else, give finite losses and gradients."""
    for objects in ((2, 0), (0, 0)):
        _teaches(trial, objects)


def crowded_pictures_teach(trial: ModelTrial) -> None:
    """More objects than queries or slots give finite losses and gradients."""
    _teaches(trial, (trial.many, 1))


def _teaches(trial: ModelTrial, objects: tuple[int, ...]) -> None:
    model = trial.model().train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        losses = model.loss(*trial.batch(*objects, model=model))
    case = f"with {' and '.join(map(str, objects))} objects in its pictures"
    bad = [name for name, value in losses.terms.items() if not torch.isfinite(value)]
    require(not bad, f"a batch {case}: {named(bad)} not finite")
    losses.total.backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    bad = [name for name, gradient in gradients.items() if not torch.isfinite(gradient).all()]
    require(not bad, f"a batch {case}: gradients of {named(bad)} not finite")
    require(any(bool(gradient.any()) for gradient in gradients.values()), f"a batch {case} teaches nothing at all")


def predictions_keep_the_convention(trial: ModelTrial) -> None:
    """Of detections: slots with xyxy boxes in pixels inside the picture, best score first; score 0 and label -1 mean empty.

    Of class scores: shares that sum to 1.
    """
    model = trial.model()
    images, _ = trial.batch(2, 0, model=model)
    with torch.no_grad():
        found = model.predict(images)
    check_convention(found, images, trial.classes)


def an_evaluation_is_loss_and_prediction(trial: ModelTrial) -> None:
    """`evaluate` gives what `loss` and `predict` give one after the other."""
    model = trial.model()
    images, targets = trial.batch(2, 0, 3, model=model)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        features = model(images)
        torch.manual_seed(1)
        losses, found = model.head.evaluate(features, targets)
        torch.manual_seed(1)
        expected_losses, expected = model.head.loss(features, targets), model.head.predict(features)
    ours, theirs = losses.values(), expected_losses.values()
    require(ours == theirs, f"evaluate gives losses {ours}, loss gives {theirs}")
    require(is_same(found, expected), "evaluate gives other predictions than predict")


def losses_and_predictions_are_fp32(trial: ModelTrial) -> None:
    """Whatever autocast surrounds them: bf16 knows three digits."""
    model = trial.model()
    images, targets = trial.batch(2, 0, model=model)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        losses, found = model.loss(images, targets), model.predict(images)
    kinds = {name: value.dtype for name, value in losses.terms.items()}
    kinds |= {name: tensor.dtype for name, tensor in vars(found).items() if tensor.is_floating_point()}
    wrong = [f"{name} {kind}" for name, kind in kinds.items() if kind != torch.float32]
    require(not wrong, f"under bf16 autocast: {named(wrong)}; compute them in float32")


def a_saved_model_predicts_the_same(trial: ModelTrial) -> None:
    """All that decides predictions is in `state_dict`, and goes through a safetensors file."""
    model, other = trial.model(seed=0), trial.model(seed=1)
    images, _ = trial.batch(2, 0, model=model)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.safetensors"
        save_file({name: tensor.clone() for name, tensor in model.state_dict().items()}, file)
        other.load_state_dict(load_file(file))
    with torch.no_grad():
        same = is_same(model.predict(images), other.predict(images))
    require(same, "a model with the same state_dict predicts otherwise; register what it needs as parameter or buffer")


def class_rows_are_declared(trial: ModelTrial) -> None:
    """`class_rows` names exactly the tensors whose shape depends on the classes, so that they can be taken over."""
    heads = {classes: trial.model(classes=classes).head for classes in (3, 5)}
    three, five = ({name: tuple(t.shape) for name, t in head.state_dict().items()} for head in heads.values())
    depending, declared = {name for name in three if three[name] != five[name]}, heads[3].class_rows()
    require(heads[5].class_rows() == declared, "class_rows depends on the number of classes")
    wrong = sorted(depending ^ declared.keys())
    require(not wrong, f"class_rows must name {named(sorted(depending)) or 'nothing'}; wrong about {named(wrong)}")
    for name, rows in declared.items():
        grown = five[name][0] - three[name][0]
        require(grown == 2 * rows.per_class, f"{name} has {grown / 2:g} rows per class, not {rows.per_class}")
        require(rows.first + 3 * rows.per_class <= three[name][0], f"{name} ends before the last class")


MODEL_CHECKS = by_name(
    every_trainable_parameter_learns_and_no_other,
    a_batch_predicts_what_its_pictures_predict_alone,
    pictures_without_objects_teach,
    predictions_keep_the_convention,
    a_saved_model_predicts_the_same,
)
"""Those in which backbone, adapter and head meet."""

HEAD_ONLY_CHECKS = by_name(
    crowded_pictures_teach,
    an_evaluation_is_loss_and_prediction,
    losses_and_predictions_are_fp32,
    class_rows_are_declared,
)
"""Those that a head passes or fails whatever backbone it has."""
