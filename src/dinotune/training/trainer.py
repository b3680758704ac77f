"""Train one experiment into one run folder, from the start or from its last checkpoint."""

import logging
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import Literal

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader

from dinotune.build import build_answers
from dinotune.checkpoints import Description, Resumable, check_backbone, load_trained_state, read_resume_file
from dinotune.config.loading import dump_experiment
from dinotune.data.batches import Batch
from dinotune.device import Precision, memory_explained
from dinotune.errors import DataError, DinotuneError, SettingsError
from dinotune.evaluation import Evaluation, evaluate_model
from dinotune.files import remove_unfinished, write_text
from dinotune.heap import freed_memory_kept
from dinotune.training.caching import open_caches
from dinotune.training.interrupts import StopRequest
from dinotune.training.keeper import RunKeeper
from dinotune.training.loaders import RunLoaders
from dinotune.training.metrics_log import MetricsLog
from dinotune.training.module import TrainingModule
from dinotune.training.notices import ignored_settings
from dinotune.training.parameters import learning_parameters
from dinotune.training.preparation import Preparation
from dinotune.training.progress import Progress
from dinotune.training.run_folder import write_environment
from dinotune.training.state import RunState
from dinotune.training.verdict import GoalMissedError, judge

LIGHTNING_PRECISION: dict[Precision, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    "fp32": "32-true",
    "bf16": "bf16-mixed",
    "fp16": "16-mixed",
}


def train_run(preparation: Preparation, folder: Path, *, resume: bool = False) -> None:
    """Train in `folder`, which holds experiment.yaml; with `resume`, go on from its last.ckpt.

    Raises:
        GoalMissedError: the run ended below `training.must_reach`.
        InterruptedRunError: Ctrl-C or SIGTERM; a checkpoint lies on disk.
        DinotuneError: anything the user can mend.
    """
    stop = StopRequest()
    with Progress(folder / "train.log") as progress, stop.listening(), freed_memory_kept(preparation.device):
        for line in preparation.opening:
            progress.say(line)
        stored = _read_stored(preparation, folder) if resume else None
        # With pictures first: what is wrong with loader or state should show before features are computed.
        module = _module(preparation, RunLoaders(preparation, None).training())
        for line in ignored_settings(preparation.experiment, module.steps_per_epoch):
            progress.say(line)
        if stored:
            _restore_state(module, stored, folder, progress)
        again = f"dinotune train {f'--resume {quote(str(folder))}' if resume else _anew(folder)}"
        caches = open_caches(preparation, progress, stop, epoch=module.state.epoch, again=again)
        loaders = RunLoaders(preparation, caches)
        module.loader = loaders.training()
        learning = learning_parameters(preparation.model)
        write_environment(folder, preparation.device, preparation.precision, learning)
        log = MetricsLog(folder, keep_lines=module.state.metrics_lines, step=stored.steps if stored else 0)
        keeper = RunKeeper(folder, module, _evaluator(preparation, loaders), log, progress, stop)
        try:
            _fit(module, keeper, preparation.device, preparation.precision, resume=resume)
        finally:
            loaders.end()
        progress.say(_closing(folder, module))
        _judge(folder, module, progress)


def _anew(folder: Path) -> str:
    return f"{quote(str(folder / 'experiment.yaml'))} --out {quote(str(folder))} --overwrite"


def _module(preparation: Preparation, loader: DataLoader[Batch]) -> TrainingModule:
    experiment, model, train = preparation.experiment, preparation.model, preparation.train
    description = Description(
        experiment=experiment,
        labels=train.labels,
        backbone_sha256=model.backbone.identity.sha256,
        thresholds={},
        epoch=0,
        metrics={},
    )
    return TrainingModule(model, experiment, loader, description, RunState(train.fingerprint()))


def _read_stored(preparation: Preparation, folder: Path) -> Resumable:
    """What `last.ckpt` holds, with its weights in the model: the frozen ones decide which features are kept."""
    checkpoint = folder / "checkpoints" / "last.ckpt"
    if not checkpoint.is_file():
        raise DinotuneError(
            f"{checkpoint} does not exist: {folder} is a finished probe; there is nothing to go on with"
            if (folder / "probe.json").is_file()
            else f"{checkpoint} does not exist: the run stopped before its first checkpoint; start it anew with "
            f"dinotune train {_anew(folder)}"
        )
    stored = read_resume_file(checkpoint)
    check_backbone(checkpoint, preparation.model, stored.description)
    load_trained_state(preparation.model, stored.weights)
    return stored


def _restore_state(module: TrainingModule, stored: Resumable, folder: Path, progress: Progress) -> None:
    """Put the run's state into the module and the settings into the folder."""
    checkpoint = folder / "checkpoints" / "last.ckpt"
    remove_unfinished(checkpoint.parent)
    state = RunState.from_json(stored.run_state)
    if state.fingerprint != module.state.fingerprint:
        raise DataError(
            f"{checkpoint}: the training pictures or boxes have changed since; put them back, or start a new run"
        )
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


def _evaluator(preparation: Preparation, loaders: RunLoaders) -> Callable[[Callable[[Batch], None]], Evaluation]:
    """A function that evaluates the model as it is now, calling back before each batch."""
    return lambda on_batch: evaluate_model(
        preparation.model,
        preparation.measured,
        loaders.measured,
        build_answers(preparation.experiment, preparation.measured, preparation.model.size_multiple),
        precision=preparation.precision,
        on_batch=on_batch,
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
    module.train()  # a backbone is built in eval mode, and Lightning leaves modes as they are
    try:
        with warnings.catch_warnings(), memory_explained():
            # Our loader resumes in the middle of an epoch by its sampler, which Lightning cannot see; the number
            # of workers and the frozen parts in eval mode are decided by us.
            warnings.filterwarnings("ignore", module=r"lightning\.")
            trainer.fit(module, ckpt_path=checkpoint, weights_only=True)
    finally:
        keeper.metrics_log.close()


def _closing(folder: Path, module: TrainingModule) -> str:
    """What was reached, and what comes next."""
    reached = [f"best {name} {value:.4f}" for name, value in sorted(module.state.best.items())] or ["nothing measured"]
    return (
        f"{', '.join(reached)} on {module.experiment.evaluation.split}; next:\n"
        f"  dinotune evaluate {quote(str(folder))}\n  dinotune predict {quote(str(folder))} PICTURES"
    )


def _judge(folder: Path, module: TrainingModule, progress: Progress) -> None:
    """Say PASS; raise and log FAIL."""
    goal = module.experiment.training.must_reach
    if goal is None:
        return
    try:
        progress.say(judge(folder, goal, module.experiment.scores.goal, module.state.without_gradient))
    except GoalMissedError as failure:
        progress.log(str(failure))
        raise
