"""Whether a run gets a feature cache: what forbids it, what it takes, and whether it pays."""

from dataclasses import dataclass

from dinotune import config
from dinotune.data.problems import counted
from dinotune.errors import DinotuneError, SettingsError
from dinotune.feature_cache.outlay import Outlay
from dinotune.feature_cache.run import CachedRun

LEAST_GAIN = 1.25
"""Pictures that go through the frozen part without a cache, as a multiple of those that still do with one, from which on
`auto` takes one."""


@dataclass(frozen=True)
class Decision:
    """The experiment with `feature_cache.mode` and `augmentation.views` resolved, and sentences about them."""

    experiment: config.Experiment
    lines: tuple[str, ...] = ()


def decide(run: CachedRun) -> Decision:
    """Resolve `feature_cache.mode` of a run; with `off` say what a cache would save.

    Raises:
        SettingsError: `on`, and a setting forbids it; names the setting and what to change.
        DinotuneError: `on`, and there is no room.
    """
    experiment, obstacle = run.experiment, _obstacle(run)
    limited, views = run.limited, run.views
    match experiment.feature_cache.mode:
        case "off":
            return Decision(experiment, () if obstacle else (_hint(experiment, views),))
        case "on":
            if obstacle:
                raise SettingsError(f"{obstacle}; or set feature_cache=off")
            Outlay(limited).check_room()
            return Decision(limited.experiment, (_seen(experiment, views),))
        case "auto":
            reason, gain = (obstacle, 0.0) if obstacle else _weigh(Outlay(limited), views)
            if reason:
                return Decision(with_mode(experiment, "off"), (f"feature cache: off, as {reason}",))
            say = f"feature cache: on, as {gain:.1f} times fewer pictures then go through the frozen part; "
            return Decision(with_mode(limited.experiment, "on"), (say + _seen(experiment, views),))


def _weigh(outlay: Outlay, views: int) -> tuple[str, float]:
    """Why a cache is not worth its time or room, if it is not, and what it gains."""
    gain = outlay.gain
    if gain < LEAST_GAIN:
        epochs = counted(outlay.run.experiment.training.epochs, "epoch")
        return f"{epochs} are too few for {counted(views, 'view')} of each picture", gain
    try:
        outlay.check_room()
    except DinotuneError as error:
        return str(error), gain
    return "", gain


def _obstacle(run: CachedRun) -> str:
    """The setting with which nothing can be kept, and what to change; empty where there is none."""
    experiment, place = run.experiment, run.model.backbone.cut_place
    if not place.has_embedding:
        return "backbone.trainable: the patch embedding learns, so nothing is frozen; let only the last blocks learn"
    if place.frozen_blocks == 0:
        by_stage = any(stage.from_epoch == 0 for stage in experiment.backbone.trainable)
        setting = "backbone.trainable" if by_stage else "adapter.blocks"
        return f"{setting}: something learns in the first block already; let only the last blocks learn"
    if experiment.training.minutes is not None:
        return "training.minutes: steps are timed without a cache; set training.epochs"
    return ""


def _hint(experiment: config.Experiment, views: int) -> str:
    return (
        f"feature cache: off; the frozen part of the backbone runs in each of {experiment.training.epochs} epochs, with "
        f"feature_cache=on once for each of {counted(views, 'view')}"
    )


def _seen(experiment: config.Experiment, views: int) -> str:
    own = experiment.data.augmentation.views is not None
    return f"data.augmentation.views: {views}" + ("" if own else ", as features are kept of a limited number")


def with_mode(experiment: config.Experiment, mode: str) -> config.Experiment:
    """The experiment with another `feature_cache.mode`."""
    settings = experiment.feature_cache.model_copy(update={"mode": mode})
    return experiment.model_copy(update={"feature_cache": settings})
