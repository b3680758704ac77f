"""One LightningModule for all tasks: a step, the optimiser, and what a checkpoint holds."""

import json
import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from dinotune import config
from dinotune.checkpoints import AVERAGED_KEY, METADATA_KEY, Description, load_trained_state, trained_state
from dinotune.data.batches import Batch
from dinotune.data.photometric import training_inputs
from dinotune.data.sampler import TrainBatchSampler
from dinotune.data.seeds import mix_seed
from dinotune.model import KEY_BIAS, Model
from dinotune.training.averaging import AveragedWeights
from dinotune.training.optimizer import build_optimizer, learning_rate_factor
from dinotune.training.state import RunState


class TrainingModule(pl.LightningModule):
    """Draws depend on seed, epoch and batch number alone, so a resumed run repeats an uninterrupted one."""

    strict_loading = False

    def __init__(
        self,
        model: Model,
        experiment: config.Experiment,
        loader: DataLoader[Batch],
        description: Description,
        state: RunState,
    ) -> None:
        super().__init__()
        self.model = model
        self.experiment = experiment
        self.loader = loader
        self.description = description
        self.state = state
        self.losses: dict[str, float] = {}
        """Loss terms of the last batch and their sum as `loss`; empty where one is not finite."""
        decay = experiment.training.ema_decay
        self.averaged = None if decay is None else AveragedWeights(model, decay)
        self.gradient_norm = 0.0
        self.skipped_because: str | None = None

    @property
    def sampler(self) -> TrainBatchSampler:
        """The sampler that decides shape, scale and pictures of every batch."""
        assert isinstance(self.loader.batch_sampler, TrainBatchSampler)
        return self.loader.batch_sampler

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps per epoch."""
        return -(-len(self.loader) // self.experiment.training.accumulate)

    def enter_epoch(self, epoch: int) -> bool:
        """Enter the backbone's stage of this epoch; true if something changed."""
        changed = self.model.backbone.set_epoch(epoch)
        if self.averaged is not None:
            self.averaged.join()
        return changed

    def begin_epoch(self, epoch: int) -> bool:
        """Begin an epoch at its first batch; true if something else learns than before."""
        before = set()
        if epoch > 0:
            self.model.backbone.set_epoch(epoch - 1)
            before = set(self._learning())
        changed = self.enter_epoch(epoch)
        self.state.begin_epoch(epoch)
        self.state.without_gradient += [name for name in self._learning() if name not in before]
        self.sampler.set_epoch(epoch)
        return changed

    def _learning(self) -> list[str]:
        """Names of the parameters that learn now and whose gradient is not zero by construction."""
        named = self.model.named_parameters()
        return [name for name, parameter in named if parameter.requires_grad and not KEY_BIAS.search(name)]

    def weights_for_use(self) -> AbstractContextManager[None]:
        """Let the model hold the weights that evaluations and files for use take."""
        return nullcontext() if self.averaged is None else self.averaged.in_model()

    def train_dataloader(self) -> DataLoader[Batch]:
        """Training batches, from the batch that comes next."""
        return self.loader

    def configure_optimizers(self) -> Any:
        """Optimiser and a schedule per step."""
        optimizer = build_optimizer(self.model, self.experiment.training)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_start(self) -> None:
        """The optimiser's stored rates are those of the old schedule, where a run goes on with more epochs."""
        optimizer: Any = self.optimizers()
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * self._factor(self.global_step)

    def on_before_optimizer_step(self, _: torch.optim.Optimizer) -> None:
        """Strike out the parameters that a gradient has reached."""
        waiting = self.state.without_gradient
        gradients = {name: p.grad for name, p in self.model.named_parameters() if p.grad is not None} if waiting else {}
        met = [name for name in waiting if name in gradients]
        if met:
            reached = torch.stack([gradients[name].any() for name in met]).tolist()  # one wait for the GPU
            struck = {name for name, there in zip(met, reached, strict=True) if there}
            self.state.without_gradient = [name for name in waiting if name not in struck]

    def optimizer_step(self, *arguments: Any, **keywords: Any) -> None:
        """The optimiser's step, and with it the mean of the weights."""
        super().optimizer_step(*arguments, **keywords)
        if self.averaged is not None:
            self.averaged.update()

    @property
    def learning_rate(self) -> float:
        """The head's rate in the last step; the optimiser already holds the next one."""
        return self.experiment.training.learning_rate * self._factor(max(0, self.global_step - 1))

    def _factor(self, step: int) -> float:
        return learning_rate_factor(step, training=self.experiment.training, steps_per_epoch=self.steps_per_epoch)

    def training_step(self, batch: Batch, _: int) -> Tensor | None:
        """Total loss of a batch; none, with a reason in `skipped_because`, where it is not finite."""
        self.losses, self.skipped_because = {}, None
        if len(batch) == 0:
            return None
        seed = self.experiment.seed
        torch.manual_seed(mix_seed(seed, batch.epoch, batch.index))
        losses = self.model.loss(training_inputs(batch, self.experiment.data.augmentation, seed), batch.targets)
        values = losses.values()
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        if bad:
            self.skipped_because = f"{', '.join(bad)} not finite"
            return None
        self.losses = values | {"loss": math.fsum(values.values())}
        return losses.total

    def configure_gradient_clipping(self, optimizer: torch.optim.Optimizer, *_: Any, **__: Any) -> None:
        """Clip the norm of all gradients together; gradients that are not finite are dropped."""
        limit = self.experiment.training.clip
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        norm = torch.nn.utils.clip_grad_norm_(parameters, limit if limit > 0 else float("inf"))
        self.gradient_norm = norm.item()
        if not math.isfinite(self.gradient_norm) and self.trainer.precision != "16-mixed":
            self.skipped_because = "gradients not finite"
            optimizer.zero_grad(set_to_none=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what was trained, the description and the run's state; drop frozen weights."""
        checkpoint["state_dict"] = {f"model.{name}": tensor for name, tensor in trained_state(self.model).items()}
        if self.averaged is not None:
            checkpoint[AVERAGED_KEY] = self.averaged.state()
        checkpoint[METADATA_KEY] = {
            "description": json.dumps(self.description.to_json()),
            "state": json.dumps(self.state.to_json()),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Check that every trained tensor is there, and let the sampler go on at the next batch."""
        state = {name.removeprefix("model."): tensor for name, tensor in checkpoint["state_dict"].items()}
        load_trained_state(self.model, state)
        if self.averaged is not None:
            self.averaged.load(checkpoint[AVERAGED_KEY])
        if self.state.evaluation_pending:
            self.sampler.set_epoch(self.state.epoch + 1)
        else:
            self.sampler.set_epoch(self.state.epoch)
            self.sampler.start_batch = self.state.next_batch
