"""Keeps a run: logs every step, evaluates every epoch, writes checkpoints, stops when asked to."""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import Any

import lightning.pytorch as pl

from dinotune.checkpoints import write_checkpoint
from dinotune.data.batches import Batch
from dinotune.errors import DataError, DinotuneError
from dinotune.evaluation import Evaluation, evaluation_folder, explain
from dinotune.files import write_atomically, write_json
from dinotune.training.early_stopping import why_stop
from dinotune.training.interrupts import InterruptedRunError, StopRequest
from dinotune.training.memory import memory_gb
from dinotune.training.metrics_log import MetricsLog
from dinotune.training.module import TrainingModule
from dinotune.training.progress import Progress
from dinotune.training.verdict import describe_without_gradient

Evaluate = Callable[[Callable[[Batch], None]], Evaluation]


class RunKeeper(pl.Callback):
    """Everything a run leaves on disk and says while training."""

    def __init__(
        self,
        folder: Path,
        module: TrainingModule,
        evaluate: Evaluate,
        metrics_log: MetricsLog,
        progress: Progress,
        stop: StopRequest,
    ) -> None:
        self.folder = folder
        self.module = module
        self.evaluate = evaluate
        self.metrics_log = metrics_log
        self.progress = progress
        self.stop = stop
        self.trouble: DinotuneError | None = None
        """Why training must end; raised after the next optimiser step, where a checkpoint can stand."""
        self.window: tuple[str, ...] = ()
        """Pictures since the weights last changed."""
        self.said: set[str] = set()
        """Remarks on evaluations, which would come again each epoch."""
        self.step_started = self.epoch_started = time.perf_counter()

    @property
    def last_checkpoint(self) -> Path:
        """The file to resume from."""
        return self.folder / "checkpoints" / "last.ckpt"

    def on_train_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Enter the backbone's stage, and make up for an evaluation that a stop left out; the run may be over with it."""
        # Lightning has just put its own SIGTERM handler in place, which ends with exit status 0 and saves nothing.
        self.stop.install()
        state = self.module.state
        self.module.enter_epoch(state.epoch)
        if state.evaluation_pending:
            self._finish_epoch(trainer, state.epoch)
            # Lightning takes the next epoch for the rest of this one, and would neither start nor count it.
            trainer.fit_loop.reset_restart_stage()
        else:
            self._stop_early(trainer)

    def on_train_epoch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Enter the backbone's stage of this epoch."""
        epoch = trainer.current_epoch
        if self.module.begin_epoch(epoch):
            backbone = self.module.model.backbone
            learning = sum(p.numel() for p in backbone.parameters() if p.requires_grad)
            learning -= sum(p.numel() for _, p in backbone.adapter_parameters())
            self.progress.say(f"epoch {epoch + 1}: {learning:,} parameters of the backbone learn from here on")

    def on_train_batch_start(self, *_: Any) -> None:
        """Show the bar of this epoch, and take the time."""
        self.progress.training(self.module.state.epoch, len(self.module.loader))

    def on_train_batch_end(self, trainer: pl.Trainer, _: Any, __: Any, batch: Batch, ___: int) -> None:
        """Log the step, write `last.ckpt` where it is due, and stop where a stop was asked for."""
        module, state = self.module, self.module.state
        state.next_batch = batch.index + 1
        state.evaluation_pending = trainer.is_last_batch
        state.add_losses(module.losses, len(batch))
        every = module.experiment.training.checkpoint_every_steps
        stepped = trainer.is_last_batch or state.next_batch % module.experiment.training.accumulate == 0
        self._log_step(trainer, batch, stepped=stepped)
        self.window += batch.paths
        self.trouble = self.trouble or self._trouble(batch)
        if not stepped:
            return
        self.window = ()
        due = every is not None and trainer.global_step % every == 0
        stop = self.trouble is not None or self.stop.signal_number is not None
        if due or stop or trainer.is_last_batch:
            self._save(trainer)
        if self.trouble is not None:
            raise self.trouble
        if stop:
            self._raise_interrupted()

    def on_train_epoch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Evaluate, keep the best, write `last.ckpt`."""
        self._finish_epoch(trainer, self.module.state.epoch)

    def _log_step(self, trainer: pl.Trainer, batch: Batch, *, stepped: bool) -> None:
        now = time.perf_counter()
        seconds, self.step_started = now - self.step_started, now
        module = self.module
        speed, memory = len(batch) / seconds, memory_gb(module.device)
        self.progress.step(module.losses.get("loss"), speed, memory)
        if trainer.global_step % module.experiment.training.log_every or not (stepped and module.losses):
            return
        self.metrics_log.step(
            {
                "epoch": batch.epoch,
                "step": trainer.global_step,
                "batch": batch.index,
                **module.losses,
                "learning_rate": module.learning_rate,
                "gradient_norm": module.gradient_norm,
                "pictures_per_second": round(speed, 2),
                "memory_gb": round(memory, 3),
            }
        )

    def _trouble(self, batch: Batch) -> DinotuneError | None:
        """Count unreadable pictures and skipped steps, name them, and give the error where a limit is passed."""
        module, state, experiment = self.module, self.module.state, self.module.experiment
        new = [message for message in batch.corrupt if message not in state.corrupt]
        state.corrupt += new
        for message in new:
            self.progress.say(f"left out: {message}")
        if module.skipped_because is not None:
            state.skipped_steps += 1
            self.progress.say(
                f"skipped step {batch.index} of epoch {batch.epoch + 1} ({module.skipped_because}); "
                f"pictures: {', '.join(self.window)}"
            )
        if new and len(state.corrupt) > experiment.data.max_skipped:
            return DataError(
                f"{len(state.corrupt)} pictures could not be read (named above); mend them, or go on with "
                f"--resume {self.folder} data.max_skipped={10 * len(state.corrupt)}"
            )
        if module.skipped_because and state.skipped_steps > experiment.training.max_skipped_steps:
            return DinotuneError(
                f"{state.skipped_steps} steps had a loss or gradients that are not finite (pictures named above); "
                f"lower training.learning_rate ({experiment.training.learning_rate}), or use training.precision=fp32"
            )
        return None

    def _finish_epoch(self, trainer: pl.Trainer, epoch: int) -> None:
        module, training = self.module, self.module.experiment.training
        module.state.epoch = epoch
        module.description = replace(module.description, epoch=epoch)
        due = (epoch + 1) % training.validate_every == 0 or epoch + 1 == training.epochs
        with module.weights_for_use():
            evaluation = self._evaluate() if due else None
            line = self._epoch_line(trainer, epoch, evaluation)
            improved = self._update_best(evaluation)
            self._write_files(epoch, improved)
        experiment, score = module.experiment, module.experiment.scores.best
        if evaluation is not None and score in improved:
            split = experiment.evaluation.split
            evaluation.write(evaluation_folder(self.folder, experiment.data, split, f"best_{score}"))
            write_json(self.folder / "metrics.json", {"epoch": epoch, **evaluation.to_json()})
        self.metrics_log.epoch(line)
        self.progress.epoch(line, improved, training.epochs, experiment.scores.shown)
        if evaluation is not None:
            self._say_once(*(f"left out of the evaluation: {message}" for message in evaluation.unreadable))
            self._say_once(*evaluation.metrics.notes)
            if reason := explain(evaluation):
                self.progress.say(reason)
        if module.state.without_gradient:
            self._say_once(describe_without_gradient(module.state.without_gradient))
        module.state.begin_epoch(epoch + 1)
        self._save(trainer)
        self._stop_early(trainer)
        self.epoch_started = self.step_started = time.perf_counter()

    def _write_files(self, epoch: int, improved: list[str]) -> None:
        """Files for use: the best ones that this evaluation surpassed, and the one of every so many epochs."""
        module, every = self.module, self.module.experiment.training.checkpoint_every
        names = [f"best_{name}" for name in improved]
        if every and (epoch + 1) % every == 0:
            names.append(f"epoch_{epoch + 1}")
        for name in names:
            write_checkpoint(self.folder / "checkpoints" / f"{name}.safetensors", module.model, module.description)

    def _stop_early(self, trainer: pl.Trainer) -> None:
        training, score = self.module.experiment.training, self.module.experiment.scores.best
        reason = why_stop(self.metrics_log.epochs, training.early_stopping, score)
        if reason is not None and self.module.state.epoch < training.epochs:
            trainer.should_stop = True
            self.progress.say(reason)

    def _say_once(self, *messages: str) -> None:
        for message in messages:
            if message not in self.said:
                self.said.add(message)
                self.progress.say(message)

    def _evaluate(self) -> Evaluation:
        def on_batch(_: Batch) -> None:
            self.progress.evaluating()
            if self.stop.signal_number is not None:
                self._raise_interrupted()

        return self.evaluate(on_batch)

    def _epoch_line(self, trainer: pl.Trainer, epoch: int, evaluation: Evaluation | None) -> dict[str, Any]:
        losses: dict[str, float | None] = {
            f"train_{name}": value for name, value in self.module.state.mean_losses().items()
        }
        if evaluation is not None:
            losses |= {f"val_{name}": value for name, value in evaluation.losses.items()}
            losses |= evaluation.metrics.numbers
        return {
            "epoch": epoch,
            "step": trainer.global_step,
            **losses,
            "learning_rate": self.module.learning_rate,
            "seconds": round(time.perf_counter() - self.epoch_started, 2),
            "memory_gb": round(memory_gb(self.module.device), 3),
        }

    def _update_best(self, evaluation: Evaluation | None) -> list[str]:
        """Names of the scores that are better than ever, with the description brought up to date."""
        if evaluation is None:
            return []
        best, metrics = self.module.state.best, evaluation.metrics
        self.module.description = replace(
            self.module.description, thresholds=metrics.thresholds, metrics=metrics.numbers
        )
        name = self.module.experiment.scores.best
        score, loss = metrics[name], evaluation.losses["loss"]
        improved = []
        if math.isfinite(loss) and loss < best.get("loss", math.inf):
            best["loss"] = loss
            improved.append("loss")
        # Where the score stays as it is (AP 0 in the first epochs), the lower loss decides; without objects there is none.
        lower = math.isfinite(loss) and not loss >= self.module.state.loss_at_best
        ties = score == best.get(name) and lower
        if score is not None and (score > best.get(name, -1.0) or ties):
            best[name], self.module.state.loss_at_best = score, loss
            improved.append(name)
        return improved

    def _save(self, trainer: pl.Trainer) -> None:
        self.module.state.metrics_lines = self.metrics_log.lines
        write_atomically(self.last_checkpoint, trainer.save_checkpoint)

    def _raise_interrupted(self) -> None:
        assert self.stop.signal_number is not None
        raise InterruptedRunError(
            self.stop.signal_number, f"stopped as asked; go on with: dinotune train --resume {quote(str(self.folder))}"
        )
