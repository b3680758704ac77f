"""DINOv3's ConvNeXt (arXiv 2508.10104) on timm's blocks: taps at the ends of its four stages."""

from collections.abc import Callable, Iterable
from itertools import accumulate
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from dinotune import config
from dinotune.backbones.base import WeightsIdentity
from dinotune.backbones.shapes import ConvNextShape
from dinotune.backbones.slots import AfterBlocks
from dinotune.backbones.snapshots import Statistics
from dinotune.backbones.staged import StagedBackbone
from dinotune.errors import SettingsError
from dinotune.types import Features

STRIDES = (4, 8, 16, 32)


class ConvNextBackbone(StagedBackbone):
    """A ConvNeXt; blocks are numbered across stages, the first of a stage includes its downsampling.

    The last map goes through the final LayerNorm. Earlier ones have other widths: `final_norm` leaves
    them as they are, as Meta's code does. There are no prefix tokens; `cls` is the LayerNorm of the
    mean over the deepest tap (without learned scale where that is not the last stage).
    """

    def __init__(
        self,
        encoder: nn.Module,
        shape: ConvNextShape,
        settings: config.Backbone,
        statistics: Statistics,
        identity: WeightsIdentity,
    ) -> None:
        super().__init__()
        if settings.rope_jitter:
            raise SettingsError(f"backbone.rope_jitter: {settings.id} has no RoPE; remove it or use a DINOv3 ViT")
        self.encoder, self.shape = encoder, shape
        self.width, self.depth = shape.widths[-1], sum(shape.depths)
        self.patch_size = self.size_multiple = STRIDES[-1]
        self.prefix_tokens = 0
        self._places = [(stage, number) for stage, depth in enumerate(shape.depths) for number in range(depth)]
        self._prepare(settings, statistics, identity, tuple(end - 1 for end in accumulate(shape.depths)))

    @property
    def final_norm(self) -> nn.Module:
        """The LayerNorm over the last map (timm keeps it in the head, channels first)."""
        return self.encoder.get_submodule("head.norm")

    def _embed(self, images: Float[Tensor, "batch 3 height width"]) -> Tensor:
        embedded: Tensor = self.encoder.get_submodule("stem")(images)
        return embedded

    def put_after(self, adapter: AfterBlocks) -> None:
        """Let an adapter act after its blocks. SettingsError for one that wants to know where CLS looks."""
        if adapter.needs_guidance:
            raise SettingsError("adapter.kind: this one follows the attention of CLS, and ConvNeXt has none; use a ViT")
        super().put_after(adapter)

    def _change_cells(self, x: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        cells = change(x.flatten(2).transpose(1, 2))
        return cells.transpose(1, 2).reshape(x.shape)

    def _guidance(self, x: Tensor, image_hw: tuple[int, int], options: dict[str, Any]) -> Tensor:  # noqa: ARG002
        raise AssertionError("put_after refuses adapters that need guidance")

    def linear_layers(self, block: int) -> dict[str, tuple[str, ...]]:
        """`fc1` and `fc2`."""
        stage, number = self._places[block]
        return {name: (f"encoder.stages.{stage}.blocks.{number}.mlp.{name}",) for name in ("fc1", "fc2")}

    def _features(self, taps: dict[int, Tensor], image_hw: tuple[int, int]) -> Features:
        deepest = taps[self.blocks[-1]]
        mean = deepest.mean((2, 3), keepdim=True)
        if self._uses_final_norm():
            cls = self.final_norm(mean).flatten(1)
        else:
            cls = functional.layer_norm(mean.flatten(1), (mean.shape[1],))
        maps = tuple(self._normed(block, taps[block]) for block in self.blocks)
        grids = tuple(self._grid_after(block, image_hw) for block in self.blocks)
        assert tuple(grid.shape[2:] for grid in maps) == grids, "one cell per stride"
        return Features(maps=maps, strides=self.strides, cls=cls, prefix=(), image_hw=image_hw)

    def _normed(self, block: int, grid: Tensor) -> Tensor:
        if block == self.depth - 1:
            grid = self.final_norm(grid)
        elif str(block) in self.tap_norms:
            grid = self.tap_norms[str(block)](grid)
        return grid

    def _uses_final_norm(self) -> bool:
        return self.blocks[-1] == self.depth - 1

    def block_modules(self, block: int) -> list[nn.Module]:
        """The block, and the downsampling before the first one of a stage."""
        stage, number = self._places[block]
        names = [f"stages.{stage}.downsample"] if number == 0 else []
        return [self.encoder.get_submodule(name) for name in [*names, f"stages.{stage}.blocks.{number}"]]

    def _embedding_parameters(self) -> Iterable[nn.Parameter]:
        return self.encoder.get_submodule("stem").parameters()

    def block_channels(self, block: int) -> int:
        """The width of the block's stage."""
        return self.shape.widths[self._places[block][0]]

    def _block_stride(self, block: int) -> int:
        return STRIDES[self._places[block][0]]
