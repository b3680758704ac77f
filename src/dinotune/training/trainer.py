"""Train one experiment into one run folder, from the start or from its last checkpoint."""

import logging
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import lightning.pytorch as pl
import torch

from dinotune import config
from dinotune.build import build_model
from dinotune.checkpoints import Description, check_backbone, read_resume_file
from dinotune.config.loading import dump_experiment
from dinotune.data.batches import Batch
from dinotune.data.loader import evaluation_loader, training_loader
from dinotune.data.records import Records
from dinotune.data.splits import read_records
from dinotune.device import Precision, resolve_device, resolve_precision
from dinotune.errors import DataError, DinotuneError, SettingsError
from dinotune.evaluation import Evaluation, evaluate_model
from dinotune.files import write_text
from dinotune.model import Model
from dinotune.training.interrupts import StopRequest
from dinotune.training.keeper import RunKeeper
from dinotune.training.metrics_log import MetricsLog
from dinotune.training.module import TrainingModule
from dinotune.training.progress import Progress
from dinotune.training.run_folder import write_environment
from dinotune.training.state import RunState

LIGHTNING_PRECISION: dict[Precision, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    "fp32": "32-true",
    "bf16": "bf16-mixed",
    "fp16": "16-mixed",
}


def train_run(experiment: config.Experiment, folder: Path, *, resume: bool = False) -> None:
    """Train in `folder`, which holds experiment.yaml; with `resume`, go on from its last.ckpt.

    Raises:
        InterruptedRunError: Ctrl-C or SIGTERM; a checkpoint lies on disk.
        DinotuneError: anything the user can mend.
    """
    device = resolve_device(experiment.device)
    precision = resolve_precision(experiment.training.precision, device)
    write_environment(folder, device, precision)
    stop = StopRequest()
    with Progress(folder / "train.log") as progress, stop.listening():
        train = read_records(experiment.data, "train", seed=experiment.seed)
        measured = _measured_records(experiment, train)
        model, report = build_model(experiment, train.labels)
        opening = [f"device: {device}, precision: {precision}", _describe(train), _describe(measured)]
        for line in (*opening, report.describe(), _describe_parameters(model)):
            progress.say(line)
        module = _module(experiment, model, train, device)
        resumed = _restore_state(module, folder, progress) if resume else None
        log = MetricsLog(folder, keep_lines=module.state.metrics_lines, step=resumed or 0)
        keeper = RunKeeper(folder, module, _evaluator(experiment, model, measured, precision), log, progress, stop)
        _fit(module, keeper, device, precision, resume=resumed is not None)
        progress.say(_closing(folder, module))


def _measured_records(experiment: config.Experiment, train: Records) -> Records:
    split = experiment.evaluation.split
    if split == "train":
        return train
    return read_records(experiment.data, split, seed=experiment.seed, labels=train.labels)


def _describe(records: Records) -> str:
    counts = f"{len(records):,} pictures, {len(records.boxes):,} boxes, {len(records.labels)} classes"
    return "\n  ".join([f"data: {records.name}: {counts}", *records.notes])


def _describe_parameters(model: Model) -> str:
    learning = {id(p) for _, group in model.backbone.stage_parameters() for _, p in group}
    backbone = sum(p.numel() for p in model.backbone.parameters())
    learns = sum(p.numel() for p in model.backbone.parameters() if id(p) in learning)
    head = sum(p.numel() for p in model.head.parameters())
    return f"parameters: backbone {backbone:,} ({learns:,} learn), head {head:,}"


def _module(experiment: config.Experiment, model: Model, train: Records, device: torch.device) -> TrainingModule:
    loader = training_loader(
        train,
        experiment.data,
        batch_size=experiment.training.batch_size,
        multiple=model.size_multiple,
        seed=experiment.seed,
        device_type=device.type,
    )
    description = Description(
        experiment=experiment,
        labels=train.labels,
        backbone_sha256=model.backbone.identity.sha256,
        thresholds={},
        epoch=0,
        metrics={},
    )
    return TrainingModule(model, experiment, loader, description, RunState(train.fingerprint()))


def _restore_state(module: TrainingModule, folder: Path, progress: Progress) -> int:
    """Put the state of `last.ckpt` into the module and the settings into the folder; returns the steps done."""
    checkpoint = folder / "checkpoints" / "last.ckpt"
    if not checkpoint.is_file():
        raise DinotuneError(
            f"{checkpoint} does not exist: the run stopped before its first checkpoint; start it anew with "
            f"dinotune train {folder / 'experiment.yaml'} --out {folder} --overwrite"
        )
    stored = read_resume_file(checkpoint)
    state = RunState.from_json(stored.run_state)
    if state.fingerprint != module.state.fingerprint:
        raise DataError(
            f"{checkpoint}: the training pictures or boxes have changed since; put them back, or start a new run"
        )
    check_backbone(checkpoint, module.model, stored.description)
    begun = state.epoch + (state.next_batch > 0)
    if module.experiment.training.epochs < begun:
        raise SettingsError(
            f"training.epochs: {module.experiment.training.epochs}, but the run is in epoch {begun}; use at least that"
        )
    if state.epoch == module.experiment.training.epochs:
        progress.say(f"all {state.epoch} epochs are done; go on with training.epochs={2 * state.epoch}")
    module.state = state
    module.description = replace(stored.description, experiment=module.experiment)
    write_text(folder / "experiment.yaml", dump_experiment(module.experiment))
    return stored.steps


def _evaluator(
    experiment: config.Experiment, model: Model, measured: Records, precision: Precision
) -> Callable[[Callable[[Batch], None]], Evaluation]:
    """A function that evaluates the model as it is now, calling back before each batch."""
    evaluation = experiment.evaluation
    batch_size = evaluation.batch_size or experiment.training.batch_size
    loader = evaluation_loader(measured, experiment.data, batch_size=batch_size, multiple=model.size_multiple)
    return lambda on_batch: evaluate_model(
        model, measured, loader, precision=precision, max_detections=evaluation.max_detections, on_batch=on_batch
    )


def _calm_lightning() -> None:
    """Lightning's notes on devices and adverts are ours to say, or not to say."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _fit(
    module: TrainingModule, keeper: RunKeeper, device: torch.device, precision: Precision, *, resume: bool
) -> None:
    _calm_lightning()
    training = module.experiment.training
    trainer = pl.Trainer(
        accelerator={"cuda": "gpu"}.get(device.type, device.type),
        devices=1,
        precision=LIGHTNING_PRECISION[precision],
        max_epochs=training.epochs,
        accumulate_grad_batches=training.accumulate,
        callbacks=[keeper],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=0,
        use_distributed_sampler=False,
        deterministic=training.deterministic,
        default_root_dir=keeper.folder,
    )
    checkpoint = str(keeper.last_checkpoint) if resume else None
    try:
        with warnings.catch_warnings():
            # Our loader resumes in the middle of an epoch by its sampler, which Lightning cannot see; the number
            # of workers and the frozen parts in eval mode are decided by us.
            warnings.filterwarnings("ignore", module=r"lightning\.")
            trainer.fit(module, ckpt_path=checkpoint, weights_only=True)
    finally:
        keeper.metrics_log.close()


def _closing(folder: Path, module: TrainingModule) -> str:
    """What was reached, and what comes next."""
    best = module.state.best
    return (
        f"best AP {best['AP']:.4f}, best loss {best['loss']:.4f} on {module.experiment.evaluation.split}; next:\n"
        f"  dinotune evaluate {folder}\n  dinotune predict {folder} PICTURES"
    )
