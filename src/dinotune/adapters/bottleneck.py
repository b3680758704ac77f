"""The plain bottleneck: what DAGA is without its guidance, so the control that DAGA is measured against."""

from typing import final

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from dinotune import config
from dinotune.adapters.base import Adapter
from dinotune.adapters.blocks import named, resolve_after
from dinotune.adapters.initial import begin_as_zeros, begin_small
from dinotune.backbones.base import Backbone
from dinotune.backbones.slots import AfterBlocks


@final
class BottleneckAdapter(Adapter):
    """A bottleneck after some blocks of any backbone; each has the width of its block."""

    def __init__(self, settings: config.Bottleneck) -> None:
        self.settings = settings

    def attach(self, backbone: Backbone) -> None:
        """Put a bottleneck after each block. SettingsError for blocks that this backbone does not run."""
        blocks = resolve_after(self.settings.blocks, backbone.depth, backbone.blocks[-1])
        widths = {block: backbone.block_channels(block) for block in blocks}
        backbone.put_after(Bottlenecks(self.settings, widths))

    def describe(self, backbone: Backbone) -> str:
        """Which blocks."""
        assert backbone.after_blocks is not None, "describes what was attached"
        return f"bottleneck: after {named(backbone.after_blocks.blocks)} of {backbone.depth}"


@final
class Bottlenecks(AfterBlocks):
    """The bottlenecks of all blocks, by block number and that block's width."""

    def __init__(self, settings: config.Bottleneck, widths: dict[int, int]) -> None:
        super().__init__()
        self.blocks = tuple(widths)
        self.bottlenecks = nn.ModuleDict(
            {
                str(block): BottleneckLayer(
                    width, settings.width or max(1, int(settings.ratio * width)), settings.dropout, settings.scale
                )
                for block, width in widths.items()
            }
        )

    def forward(
        self,
        block: int,
        patches: Float[Tensor, "batch cells width"],
        grid_hw: tuple[int, int],  # noqa: ARG002
        context: None,  # noqa: ARG002
    ) -> Float[Tensor, "batch cells width"]:
        """Patches after a block, adapted."""
        adapted: Tensor = self.bottlenecks[str(block)](patches)
        return adapted


class BottleneckLayer(nn.Module):
    """Patches x become x + scale W_up Dropout(GELU(W_down x)) (Houlsby et al. 2019, arXiv 1902.00751).

    W_up begins as zeros: exactly the identity at first.
    """

    def __init__(self, width: int, hidden: int, dropout: float, scale: float) -> None:
        super().__init__()
        self.down = begin_small(nn.Linear(width, hidden), gain=0.1)
        self.dropout = nn.Dropout(dropout)
        self.up = begin_as_zeros(nn.Linear(hidden, width))
        self.scale = scale

    def forward(self, patches: Float[Tensor, "batch cells width"]) -> Float[Tensor, "batch cells width"]:
        """Patches after the adaptation."""
        change: Tensor = self.up(self.dropout(functional.gelu(self.down(patches))))
        return patches + self.scale * change
