"""Whether a run gets a feature cache: what forbids it, what it takes, and whether it pays."""

import math
from dataclasses import dataclass

import torch

from dinotune import config
from dinotune.data.fixed_views import are_random
from dinotune.data.records import Records
from dinotune.data.sampler import every_view
from dinotune.errors import DinotuneError, SettingsError
from dinotune.feature_cache.codec import pack
from dinotune.feature_cache.room import cache_root, check_room, gigabytes
from dinotune.model import Model

USUAL_VIEWS = 8

LEAST_GAIN = 1.25
"""Passes of the frozen part without a cache, as a multiple of those with one, from which on `auto` takes one."""


@dataclass(frozen=True)
class Decision:
    """The experiment with `feature_cache.mode` and `augmentation.views` resolved, and sentences about them."""

    experiment: config.Experiment
    lines: tuple[str, ...] = ()


def decide(model: Model, experiment: config.Experiment, train: Records, measured: Records) -> Decision:
    """Resolve `feature_cache.mode`; with `off` say what a cache would save.

    Raises:
        SettingsError: `on`, and a setting forbids it; names the setting and what to change.
        DinotuneError: `on`, and there is no room.
    """
    mode = experiment.feature_cache.mode
    obstacle = _obstacle(model, experiment)
    if mode == "off":
        return Decision(experiment, () if obstacle else (_hint(experiment),))
    with_views = _with_views(experiment)
    views = with_views.data.augmentation.views or 1
    if mode == "on":
        if obstacle:
            raise SettingsError(f"{obstacle}; or set feature_cache=off")
        size = _estimate(model, with_views, train)
        check_room(size, 0, cache_root(experiment.feature_cache), experiment.feature_cache, train.name)
        return Decision(_resolved(with_views, "on"), (_seen(experiment, views),))
    reason = obstacle or _no_gain(experiment, train, measured, views) or _no_room(model, with_views, train)
    if reason:
        return Decision(_resolved(experiment, "off"), (f"feature cache: off, as {reason}",))
    gain = _gain(experiment, train, measured, views)
    say = f"feature cache: on, as the frozen part then runs {gain:.1f} times less often; {_seen(experiment, views)}"
    return Decision(_resolved(with_views, "on"), (say,))


def live_from(model: Model, experiment: config.Experiment) -> int | None:
    """The epoch from which on a stage of `backbone.trainable` moves the cut, so that kept features end; none for never."""
    backbone = model.backbone
    backbone.set_epoch(0)
    place = backbone.cut_place
    found = None
    for epoch in sorted({stage.from_epoch for stage in experiment.backbone.trainable}):
        backbone.set_epoch(epoch)
        if backbone.cut_place != place and epoch < experiment.training.epochs:
            found = epoch
            break
    backbone.set_epoch(0)
    return found


def _obstacle(model: Model, experiment: config.Experiment) -> str:
    """The setting with which nothing can be kept, and what to change; empty where there is none."""
    place = model.backbone.cut_place
    if not place.has_embedding:
        return "backbone.trainable: the patch embedding learns, so nothing is frozen; let only the last blocks learn"
    if place.frozen_blocks == 0:
        by_stage = any(stage.from_epoch == 0 for stage in experiment.backbone.trainable)
        setting = (
            "backbone.trainable"
            if by_stage
            else "adapter.blocks"
            if hasattr(experiment.adapter, "blocks")
            else "adapter"
        )
        return f"{setting}: something learns in the first block already; let only the last blocks learn"
    if experiment.training.minutes is not None:
        return "training.minutes: steps are timed without a cache; set training.epochs"
    return ""


def _hint(experiment: config.Experiment) -> str:
    views = experiment.data.augmentation.views or (USUAL_VIEWS if are_random(experiment.data.augmentation) else 1)
    return (
        f"feature cache: off; the frozen part of the backbone runs in each of {experiment.training.epochs} epochs, with "
        f"feature_cache=on once for each of {views} views"
    )


def _with_views(experiment: config.Experiment) -> config.Experiment:
    augmentation = experiment.data.augmentation
    if augmentation.views is not None:
        return experiment
    views = USUAL_VIEWS if are_random(augmentation) else 1
    data = experiment.data.model_copy(update={"augmentation": augmentation.model_copy(update={"views": views})})
    return experiment.model_copy(update={"data": data})


def _seen(experiment: config.Experiment, views: int) -> str:
    own = experiment.data.augmentation.views is not None
    return f"data.augmentation.views: {views}" + ("" if own else ", as features are kept of a limited number")


def _resolved(experiment: config.Experiment, mode: str) -> config.Experiment:
    settings = experiment.feature_cache.model_copy(update={"mode": mode})
    return experiment.model_copy(update={"feature_cache": settings})


def _gain(experiment: config.Experiment, train: Records, measured: Records, views: int) -> float:
    """How often the frozen part runs without a cache, as a multiple of how often it runs with one."""
    training = experiment.training
    evaluations = math.ceil(training.epochs / training.validate_every)
    return (training.epochs * len(train) + evaluations * len(measured)) / (views * len(train) + len(measured))


def _no_gain(experiment: config.Experiment, train: Records, measured: Records, views: int) -> str:
    gain = _gain(experiment, train, measured, views)
    if gain >= LEAST_GAIN:
        return ""
    return f"{experiment.training.epochs} epochs are too few for {views} views of each picture"


def _no_room(model: Model, experiment: config.Experiment, train: Records) -> str:
    settings, size = experiment.feature_cache, _estimate(model, experiment, train)
    try:
        check_room(size, 0, cache_root(settings), settings, train.name)
    except DinotuneError:
        return f"it would take {gigabytes(size)} (feature_cache.max_gb: {settings.max_gb:g})"
    return ""


@torch.no_grad()
def _estimate(model: Model, experiment: config.Experiment, train: Records) -> float:
    """Bytes that the features of all training views take, from those of an empty picture."""
    draws = every_view(train, experiment.data, multiple=model.size_multiple, seed=experiment.seed)
    height, width = draws[0].height, draws[0].width
    device = next(model.parameters()).device
    cut = model.backbone.frozen_part(torch.zeros(1, 3, height, width, device=device))
    tensors = {name: tensor for name, tensor in cut.tensors.items() if not (cut.alias and name == "sequence")}
    packed = pack(tensors, experiment.feature_cache.storage, model.backbone.prefix_tokens)
    each = sum(tensor.nbytes for tensor in packed.values()) / (height * width)
    return each * sum(draw.height * draw.width for draw in draws)
