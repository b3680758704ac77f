"""What may change in a run that goes on, and in a trained model that is measured; loads no torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dinotune import config
from dinotune.config.loading import Loaded, load_experiment
from dinotune.errors import SettingsError
from dinotune.training.run_folder import with_absolute_paths

CHANGEABLE_ON_RESUME = (
    "device",
    "name",
    "backbone.id",
    "data.root",
    "data.train.images",
    "data.train.annotations",
    "data.train.subset",
    "data.workers",
    "data.max_skipped",
    "feature_cache.folder",
    "feature_cache.max_gb",
    "feature_cache.in_memory",
    "training.epochs",
    "training.validate_every",
    "training.early_stopping",
    "training.early_stopping.patience",
    "training.early_stopping.metric",
    "training.early_stopping.min_improvement",
    "training.must_reach",
    "training.must_reach.metric",
    "training.must_reach.value",
    "training.checkpoint_every",
    "training.checkpoint_every_steps",
    "training.log_every",
    "training.max_skipped_steps",
)

CHANGEABLE_ON_EVALUATION = ("data.", "evaluation.", "device", "training.precision")


def resumed(run: Path, overrides: Sequence[str]) -> Loaded:
    """The experiment of a run with changes, its paths absolute.

    Raises:
        SettingsError: this is no run folder, or a change would make another run of it.
    """
    stored = run / "experiment.yaml"
    if not stored.is_file():
        raise SettingsError(f"{run}: no run folder (no experiment.yaml); name the folder of a run")
    before = load_experiment(stored, environ={}).experiment
    loaded = load_experiment(stored, overrides=overrides)
    after = with_absolute_paths(loaded.experiment)
    changed = [key for key in differences(before.model_dump(), after.model_dump()) if key not in CHANGEABLE_ON_RESUME]
    if changed:
        raise SettingsError(
            f"--resume: {', '.join(changed)} cannot change in a run; start a new one, or change only "
            f"{', '.join(CHANGEABLE_ON_RESUME)}"
        )
    return Loaded(after, loaded.notes)


def check_resume(run: Path, names: Sequence[str], *, overwrite: bool, out: Path | None) -> None:
    """SettingsError where a run that goes on is given an experiment, or a folder to write."""
    if names:
        raise SettingsError(
            f"{' '.join(names)}: a run goes on with its own experiment; give --resume {run} and key=value only"
        )
    if overwrite or out is not None:
        raise SettingsError(f"--resume goes on in {run}: leave out --out and --overwrite")


def measured(trained: config.Experiment | Path, overrides: Sequence[str]) -> config.Experiment:
    """The experiment of a trained model (or the file that holds it) with changes for an evaluation.

    Raises:
        SettingsError: a change concerns what the model is.
    """
    before = load_experiment(trained, environ={}).experiment
    after = load_experiment(trained, overrides=overrides, environ={}).experiment
    changed = differences(before.model_dump(), after.model_dump())
    fixed = [key for key in changed if not key.startswith(CHANGEABLE_ON_EVALUATION)]
    if fixed:
        raise SettingsError(
            f"evaluate: {', '.join(fixed)} cannot change in a trained model; only "
            f"{', '.join(CHANGEABLE_ON_EVALUATION)} can"
        )
    return after


def differences(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Dotted keys whose values are not the same."""
    found = []
    for key in {**before, **after}:
        old, new = before.get(key), after.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found += differences(old, new, f"{prefix}{key}.")
        elif old != new:
            found.append(f"{prefix}{key}")
    return found
