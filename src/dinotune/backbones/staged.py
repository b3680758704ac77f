"""The cut and the stages, shared by all backbones: what runs frozen, what learns from which epoch."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dinotune import config
from dinotune.backbones.base import Backbone, CutPlace, WeightsIdentity
from dinotune.backbones.plan import Stage, refuse_above, resolve_blocks, resolve_stages, stage_at
from dinotune.backbones.slots import AfterBlocks, Inside
from dinotune.backbones.snapshots import Statistics
from dinotune.errors import DinotuneError
from dinotune.types import Cut, Features


class StagedBackbone(Backbone):
    """A chain of blocks driven one by one and cut where learning begins.

    What learns inside a block cuts at its input, an adapter after a block at its output. Blocks above
    the deepest tap never run. Where the patch embedding learns, the cut lies at the images themselves.
    Frozen modules stay in eval whatever `train` says; learning ones follow it.
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
        self.channels = tuple(self.block_channels(block) for block in self.blocks)
        self.strides = tuple(self._block_stride(block) for block in self.blocks)
        early = [(b, c) for b, c in zip(self.blocks, self.channels, strict=True) if b != self.depth - 1]
        learned = early if self.tap_norm == "batch_norm" else []
        self.tap_norms = nn.ModuleDict({str(block): nn.BatchNorm2d(channels) for block, channels in learned})
        self.after_blocks = None
        self._inside = Inside()
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
    def _change_cells(self, x: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        """A block's output with its patch tokens [batch, cells, width] changed, all else as it is."""

    @abstractmethod
    def _guidance(self, x: Tensor, image_hw: tuple[int, int], options: dict[str, Any]) -> Tensor:
        """Attention of CLS to the patches in the last block, from its input.

        [batch, 1, h, w], mean over heads, scaled to [0, 1] per picture.
        """

    @abstractmethod
    def _features(self, taps: dict[int, Tensor], image_hw: tuple[int, int]) -> Features:
        """Norm the taps and give them their shape."""

    @abstractmethod
    def _embedding_parameters(self) -> Iterable[nn.Parameter]:
        """Patch embedding, tokens and positions."""

    @abstractmethod
    def _block_stride(self, block: int) -> int: ...

    @abstractmethod
    def _uses_final_norm(self) -> bool:
        """Whether some map goes through the final norm; else it has nothing to learn from."""

    def _block_options(self, image_hw: tuple[int, int], device: torch.device, *, learning: bool) -> dict[str, Any]:  # noqa: ARG002
        """Keywords of every block; `learning` in the trained part of a backbone in whose blocks something learns."""
        return {}

    def put_after(self, adapter: AfterBlocks) -> None:
        """Let an adapter act after its blocks. SettingsError where one lies above the deepest tap."""
        refuse_above(adapter.blocks, self.blocks[-1], "adapter.blocks")
        self.after_blocks = adapter.train(self.training)

    def put_inside(self, parameters: Mapping[int, Sequence[nn.Parameter]], modules: Iterable[nn.Module] = ()) -> None:
        """Let parameters inside blocks learn in every epoch. SettingsError where one lies above the deepest tap."""
        refuse_above(parameters, self.blocks[-1], "adapter.blocks")
        self._inside = Inside(parameters, modules)
        self._apply_stage()

    def frozen_part(self, images: Float[Tensor, "batch 3 height width"]) -> Cut:
        """Run every leading block that neither learns nor depends on something that does.

        Raises:
            DinotuneError: a side is no multiple of `size_multiple`.
        """
        image_hw = (images.shape[-2], images.shape[-1])
        self._check_size(image_hw)
        if self._stage.embedding:
            return Cut({}, images, image_hw)
        taps: dict[int, Tensor] = {}
        end = self._frozen_end()
        with torch.no_grad():
            before = x = self._embed(self._normalise(images))
            options = self._block_options(image_hw, x.device, learning=False)
            for block in range(end):
                before, x = x, self._run_block(block, x, options)
                if block in self.blocks and block < self._cut():
                    taps[block] = x
            known = self._has_frozen_guidance()
            guidance = self._guidance_from(end - 1, before, x, image_hw, options) if known else None
        return Cut(taps, x if self._cut() <= self.blocks[-1] else None, image_hw, guidance)

    def trained_part(self, cut: Cut) -> Features:
        """Run the blocks and adapters from the cut to the deepest tap, and the norms."""
        taps, x, image_hw = dict(cut.taps), cut.sequence, cut.image_hw
        if x is not None:
            if self._stage.embedding:
                x = self._embed(self._normalise(x))
            context = None
            options = self._block_options(image_hw, x.device, learning=bool(self._learning_blocks()))
            for block in range(self._cut(), self.blocks[-1] + 1):
                before = x
                if block >= self._frozen_end():
                    x = self._run_block(block, x, options)
                if self.after_blocks is not None and block == min(self.after_blocks.blocks):
                    guidance = cut.guidance
                    if self._needs_guidance() and guidance is None:
                        guidance = self._guidance_from(block, before, x, image_hw, options)
                    context = self.after_blocks.prepare(guidance, self._grid_after(block, image_hw))
                x = self._adapted(block, x, image_hw, context)
                if block in self.blocks:
                    taps[block] = x
        return self._features(taps, image_hw)

    def _run_block(self, block: int, x: Tensor, options: dict[str, Any]) -> Tensor:
        for module in self.block_modules(block):
            x = module(x, **options)
        return x

    def _guidance_from(
        self, block: int, before: Tensor, after: Tensor, image_hw: tuple[int, int], options: dict[str, Any]
    ) -> Tensor:
        """Guidance from input and output of a block without adapter: what lies below is not run again."""
        with torch.no_grad():
            # The attention is computed inside the last block, from that one's input.
            x = before if block == self.depth - 1 else after
            for number in range(block + 1, self.depth - 1):
                x = self._run_block(number, x, options)
            return self._guidance(x, image_hw, options)

    def _adapted(self, block: int, x: Tensor, image_hw: tuple[int, int], context: Any) -> Tensor:
        adapter = self.after_blocks
        if adapter is None or block not in adapter.blocks:
            return x
        grid_hw = self._grid_after(block, image_hw)
        return self._change_cells(x, lambda patches: adapter(block, patches, grid_hw, context))

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
        seen = {id(parameter) for _, parameter in self.adapter_parameters()}
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

    def adapter_parameters(self) -> list[tuple[str, nn.Parameter]]:
        """Named parameters of the adapter, after blocks and inside them, each once."""
        after = [] if self.after_blocks is None else list(self.after_blocks.parameters())
        wanted = {id(parameter) for parameter in [*after, *self._inside.parameters]}
        return [(name, parameter) for name, parameter in self.named_parameters() if id(parameter) in wanted]

    def train(self, mode: bool = True) -> Self:
        """Training mode for what learns; frozen modules stay in eval."""
        super().train(mode)
        self.encoder.eval()
        for block in self._stage.blocks:
            for module in self.block_modules(block):
                module.train(mode)
        for module in self._inside.modules:
            module.train(mode)
        return self

    def _apply_stage(self) -> None:
        self.encoder.requires_grad_(False)
        for parameter in [*self._parameters_of(self._stage), *self._inside.parameters]:
            parameter.requires_grad_(True)
        self.train(self.training)

    def _parameters_of(self, stage: Stage) -> list[nn.Parameter]:
        modules = [module for block in sorted(stage.blocks) for module in self.block_modules(block)]
        if stage.blocks and self._uses_final_norm():
            modules.append(self.final_norm)
        embedding = list(self._embedding_parameters()) if stage.embedding else []
        return embedding + [parameter for module in modules for parameter in module.parameters()]

    def _learning_blocks(self) -> frozenset[int]:
        """Blocks inside which something learns now."""
        return self._stage.blocks | self._inside.blocks

    def _cut(self) -> int:
        """First block that learns or that an adapter follows, or the one after the deepest tap."""
        after = () if self.after_blocks is None else self.after_blocks.blocks
        return min((*self._learning_blocks(), *after), default=self.blocks[-1] + 1)

    @property
    def cut_place(self) -> CutPlace:
        """Where the frozen part ends in the stage that holds now."""
        cut = self._cut()
        return CutPlace(
            frozen_blocks=self._frozen_end(),
            taps=tuple(block for block in self.blocks if block < cut),
            has_sequence=cut <= self.blocks[-1],
            has_guidance=self._has_frozen_guidance(),
            has_embedding=not self._stage.embedding,
        )

    def _has_frozen_guidance(self) -> bool:
        return self._needs_guidance() and not self._learning_blocks()

    def _frozen_end(self) -> int:
        """The block after the frozen part, which holds the block at the cut where nothing learns inside it."""
        cut = self._cut()
        return cut if cut in self._learning_blocks() or cut > self.blocks[-1] else cut + 1

    def _needs_guidance(self) -> bool:
        return self.after_blocks is not None and self.after_blocks.needs_guidance

    def _grid_after(self, block: int, image_hw: tuple[int, int]) -> tuple[int, int]:
        stride = self._block_stride(block)
        return image_hw[0] // stride, image_hw[1] // stride

    def _normalise(self, images: Tensor) -> Tensor:
        mean, std = self.get_buffer("_mean"), self.get_buffer("_std")
        return (images - mean) / std

    def _check_size(self, image_hw: tuple[int, int]) -> None:
        for name, side in zip(("height", "width"), image_hw, strict=True):
            fitting = max(1, -(-side // self.size_multiple)) * self.size_multiple
            if side != fitting:
                raise DinotuneError(f"{name} {side} is not a multiple of {self.size_multiple}; use {fitting}")
