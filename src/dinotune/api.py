"""The verbs for Python: train, resume, evaluate, load, predict on files, quickstart."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from dinotune import config
from dinotune.build import build_answers
from dinotune.checkpoints import load_model
from dinotune.data.loader import evaluation_loader
from dinotune.data.records import Records
from dinotune.data.splits import read_records
from dinotune.data.subsets import write_subset
from dinotune.device import memory_explained, resolve_device, resolve_precision
from dinotune.evaluation import Evaluation, evaluate_model, evaluation_folder, explain
from dinotune.files import check_folder, find_checkpoint
from dinotune.heap import freed_memory_kept
from dinotune.model import Model
from dinotune.prediction import draw_pictures, predict_files
from dinotune.predictors.base import Predictor
from dinotune.predictors.load import load_predictor
from dinotune.starting.suggestion import load_start
from dinotune.training.changes import measured, resumed
from dinotune.training.data_check import require_labels
from dinotune.training.preparation import describe_records, prepare
from dinotune.training.progress import Progress
from dinotune.training.run_folder import create_run_folder, with_absolute_paths

__all__ = ["Run", "evaluate", "load", "predict_files", "resume", "train"]


@dataclass(frozen=True)
class Run:
    """A finished run: its folder and what was measured."""

    folder: Path

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """Metrics of the best evaluation by the score of the task: `run.metrics["AP50"]`."""
        path = self.folder / "metrics.json"
        metrics: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        return metrics


def train(
    experiment: config.Experiment | str | Path,
    *,
    out: Path | str | None = None,
    overwrite: bool = False,
    notes: Sequence[str] = (),
    unmodified: config.Experiment | None = None,
) -> Run:
    """Train an experiment (settings, recipe name, YAML file, or folder of a data set) into a new run folder.

    `notes` are said first; `unmodified` is the experiment before its modifiers, with which it is compared.

    Raises:
        SettingsError: settings are wrong, or `out` is not empty.
        DinotuneError: data or weights cannot be used.
    """
    if not isinstance(experiment, config.Experiment):
        loaded = load_start(experiment)
        experiment, notes = loaded.experiment, (*notes, *loaded.notes)
    from dinotune.training.trainer import train_run  # loads Lightning: seconds that only training should cost

    experiment = with_absolute_paths(experiment)
    preparation = prepare(experiment, unmodified=unmodified)
    folder = create_run_folder(preparation.experiment, Path(out) if out else None, overwrite=overwrite)
    Progress(folder / "train.log").say("\n".join([f"run folder: {folder}", *notes]))
    for split, records in (("train", preparation.train), (experiment.evaluation.split, preparation.measured)):
        write_subset(folder / "subsets" / f"{split}.json", records, split, experiment.seed)
    train_run(preparation, folder)
    return Run(folder)


def resume(run: Path | str, overrides: Sequence[str] = ()) -> Run:
    """Go on with a stopped run exactly where its last checkpoint stands.

    Raises:
        SettingsError: an override changes what must stay as it was.
    """
    run = Path(run)
    loaded = resumed(run, overrides)
    from dinotune.training.trainer import train_run

    for note in loaded.notes:
        Progress(run / "train.log").say(note)
    train_run(prepare(loaded.experiment, resume=True), run, resume=True)
    return Run(run)


def evaluate(
    source: Path | str,
    *,
    overrides: Sequence[str] = (),
    split: str | None = None,
    out: Path | str | None = None,
    pictures: int = 0,
) -> dict[str, Any]:
    """Measure a run (its best checkpoint) or one checkpoint file, and write metrics and predictions.

    Args:
        source: Run folder or checkpoint file.
        overrides: Changes to `data`, `evaluation`, `device` and `training.precision`, as ``key=value``.
        split: `train`, `val` or `test`; none takes the experiment's.
        out: Folder for the results; none is `evaluations/DATA-SPLIT-CHECKPOINT` in the run folder.
        pictures: Number of pictures to draw, truth beside prediction.

    Returns:
        The metrics, as in `metrics.json`, with `folder` added.

    Raises:
        SettingsError: an override changes what the trained model is.
    """
    path = find_checkpoint(Path(source))
    model, description = load_model(path)
    experiment = measured(description.experiment, overrides)
    split = split or experiment.evaluation.split
    records = read_records(
        experiment.data, split, seed=experiment.seed, labels=description.labels, needs=experiment.needs
    )
    require_labels(experiment, records)
    run = path.parent.parent if path.parent.name == "checkpoints" else path.parent
    folder = Path(out) if out else evaluation_folder(run, experiment.data, split, path.stem)
    check_folder(folder)
    Progress(None).say(f"model: {path}, after epoch {description.epoch + 1}\n{describe_records(records)}")
    evaluation = _run_evaluation(model, experiment, records)
    evaluation.write(folder)
    draw_pictures(evaluation, folder / "pictures", pictures)
    progress = Progress(None)
    for line in (*evaluation.unreadable, *evaluation.metrics.notes, explain(evaluation)):
        if line:
            progress.say(line)
    return {**evaluation.to_json(), "folder": str(folder)}


def _run_evaluation(model: Model, experiment: config.Experiment, records: Records) -> Evaluation:
    device = resolve_device(experiment.device)
    batch_size = experiment.evaluation.batch_size or experiment.training.pictures_per_step
    with Progress(None) as progress, memory_explained(), freed_memory_kept(device):
        loader = evaluation_loader(
            records,
            experiment.data,
            batch_size=batch_size,
            multiple=model.size_multiple,
            device_type=device.type,
        )
        progress.start(f"evaluating {records.name}", len(loader))
        return evaluate_model(
            model.to(device),
            records,
            loader,
            build_answers(experiment, records, model.size_multiple),
            precision=resolve_precision(experiment.training.precision, device),
            on_batch=lambda _: progress.advance(),
        )


def load(source: Path | str, device: str = "auto") -> Predictor[Any]:
    """The model of a run folder (its best by the task's score) or of one checkpoint file, ready to predict."""
    return load_predictor(source, device)
