"""The cut and the stages, shared by all backbones: what runs frozen, what learns from which epoch."""

from abc import abstractmethod
from collections.abc import Iterable
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dinotune import config
from dinotune.backbones.base import Backbone, Cut, WeightsIdentity
from dinotune.backbones.plan import Stage, resolve_blocks, resolve_stages, stage_at
from dinotune.backbones.snapshots import Statistics
from dinotune.errors import DinotuneError
from dinotune.types import Features


class StagedBackbone(Backbone):
    """A chain of blocks driven one by one and cut at the input of the first block that learns.

    Blocks above the deepest tap never run. Where the patch embedding learns, the cut lies at the
    images themselves. Frozen modules stay in eval whatever `train` says; learning ones follow it.
    """

    encoder: nn.Module
    tap_norms: nn.ModuleDict
    """A BatchNorm per tap before the last block, for `tap_norm: batch_norm`."""

    def _prepare(
        self,
        settings: config.Backbone,
        statistics: Statistics,
        identity: WeightsIdentity,
        stage_ends: tuple[int, ...] = (),
    ) -> None:
        """Resolve the settings once the subclass has set its facts (`encoder`, `depth`, `width` ...)."""
        self.mean, self.std, self.identity = statistics.mean, statistics.std, identity
        self.register_buffer("_mean", torch.tensor(self.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("_std", torch.tensor(self.std).view(1, 3, 1, 1), persistent=False)
        self.tap_norm = settings.tap_norm
        self.blocks = resolve_blocks(settings.blocks, self.depth, stage_ends)
        self.channels = tuple(self._block_channels(block) for block in self.blocks)
        self.strides = tuple(self._block_stride(block) for block in self.blocks)
        early = [(b, c) for b, c in zip(self.blocks, self.channels, strict=True) if b != self.depth - 1]
        learned = early if self.tap_norm == "batch_norm" else []
        self.tap_norms = nn.ModuleDict({str(block): nn.BatchNorm2d(channels) for block, channels in learned})
        self._stages = resolve_stages(settings.trainable, self.depth, self.blocks[-1])
        self._stage = stage_at(self._stages, 0)
        self._apply_stage()

    @property
    @abstractmethod
    def final_norm(self) -> nn.Module:
        """The LayerNorm after the last block, a module of the encoder."""

    @abstractmethod
    def _embed(self, images: Float[Tensor, "batch 3 height width"]) -> Tensor:
        """Normalised images to the input of block 0."""

    @abstractmethod
    def _run_blocks(self, x: Tensor, blocks: range, image_hw: tuple[int, int], taps: dict[int, Tensor]) -> Tensor:
        """Run some blocks; outputs of tapped ones go into `taps`."""

    @abstractmethod
    def _features(self, taps: dict[int, Tensor], image_hw: tuple[int, int]) -> Features:
        """Norm the taps and give them their shape."""

    @abstractmethod
    def _block_modules(self, block: int) -> list[nn.Module]:
        """The modules that make up a block."""

    @abstractmethod
    def _embedding_parameters(self) -> Iterable[nn.Parameter]:
        """Patch embedding, tokens and positions."""

    @abstractmethod
    def _block_channels(self, block: int) -> int: ...

    @abstractmethod
    def _block_stride(self, block: int) -> int: ...

    @abstractmethod
    def _uses_final_norm(self) -> bool:
        """Whether some map goes through the final norm; else it has nothing to learn from."""

    def frozen_part(self, images: Float[Tensor, "batch 3 height width"]) -> Cut:
        """Run every leading block in which nothing learns.

        Raises:
            DinotuneError: a side is no multiple of `size_multiple`.
        """
        image_hw = (images.shape[-2], images.shape[-1])
        self._check_size(image_hw)
        if self._stage.embedding:
            return Cut({}, images, image_hw)
        taps: dict[int, Tensor] = {}
        first = self._first_learning()
        with torch.no_grad():
            sequence = self._run_blocks(self._embed(self._normalise(images)), range(first), image_hw, taps)
        return Cut(taps, sequence if first <= self.blocks[-1] else None, image_hw)

    def trained_part(self, cut: Cut) -> Features:
        """Run the blocks from the cut to the deepest tap, and the norms."""
        taps, sequence = dict(cut.taps), cut.sequence
        if sequence is not None:
            if self._stage.embedding:
                sequence = self._embed(self._normalise(sequence))
            self._run_blocks(sequence, range(self._first_learning(), self.blocks[-1] + 1), cut.image_hw, taps)
        return self._features(taps, cut.image_hw)

    def set_epoch(self, epoch: int) -> bool:
        """Enter the stage that holds in this epoch; true if something changed."""
        stage = stage_at(self._stages, epoch)
        if stage == self._stage:
            return False
        self._stage = stage
        self._apply_stage()
        return True

    def stage_parameters(self) -> list[tuple[float | None, list[tuple[str, nn.Parameter]]]]:
        """Named parameters that learn in any stage, by learning rate; BatchNorms of taps always learn."""
        groups: dict[float | None, list[tuple[str, nn.Parameter]]] = {}
        seen: set[int] = set()
        for rate, parameters in [
            (None, list(self.tap_norms.parameters())),
            *((stage.learning_rate, self._parameters_of(stage)) for stage in self._stages),
        ]:
            wanted = {id(parameter) for parameter in parameters} - seen
            seen |= wanted
            found = [(name, parameter) for name, parameter in self.named_parameters() if id(parameter) in wanted]
            if found:
                groups.setdefault(rate, []).extend(found)
        return list(groups.items())

    def train(self, mode: bool = True) -> Self:
        """Training mode for what learns; frozen modules stay in eval."""
        super().train(mode)
        self.encoder.eval()
        for block in self._stage.blocks:
            for module in self._block_modules(block):
                module.train(mode)
        return self

    def _apply_stage(self) -> None:
        self.encoder.requires_grad_(False)
        for parameter in self._parameters_of(self._stage):
            parameter.requires_grad_(True)
        self.train(self.training)

    def _parameters_of(self, stage: Stage) -> list[nn.Parameter]:
        modules = [module for block in sorted(stage.blocks) for module in self._block_modules(block)]
        if stage.blocks and self._uses_final_norm():
            modules.append(self.final_norm)
        embedding = list(self._embedding_parameters()) if stage.embedding else []
        return embedding + [parameter for module in modules for parameter in module.parameters()]

    def _first_learning(self) -> int:
        """First block that learns, or the one after the deepest tap."""
        return min(self._stage.blocks, default=self.blocks[-1] + 1)

    def _normalise(self, images: Tensor) -> Tensor:
        mean, std = self.get_buffer("_mean"), self.get_buffer("_std")
        return (images - mean) / std

    def _check_size(self, image_hw: tuple[int, int]) -> None:
        for name, side in zip(("height", "width"), image_hw, strict=True):
            fitting = max(1, -(-side // self.size_multiple)) * self.size_multiple
            if side != fitting:
                raise DinotuneError(f"{name} {side} is not a multiple of {self.size_multiple}; use {fitting}")
