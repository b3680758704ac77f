"""DAGA, dynamic attention-guided adaptation: the frozen model's CLS attention says where to adapt the patches."""

from typing import final

from jaxtyping import Float
from torch import Tensor, nn

from dinotune import config
from dinotune.adapters.base import Adapter
from dinotune.adapters.blocks import named, resolve_after
from dinotune.adapters.daga_v1 import DagaV1Layer
from dinotune.adapters.daga_v2 import DagaV2Layer, GuidanceEncoder
from dinotune.backbones.base import Backbone
from dinotune.backbones.slots import AfterBlocks
from dinotune.errors import SettingsError


@final
class DagaAdapter(Adapter):
    """A layer of DAGA after some blocks of a ViT."""

    def __init__(self, settings: config.Daga) -> None:
        self.settings = settings

    def attach(self, backbone: Backbone) -> None:
        """Put a layer after each block. SettingsError for ConvNeXt, or blocks that this backbone does not run."""
        if backbone.prefix_tokens == 0:
            raise SettingsError(
                "adapter.kind: daga follows the attention of the CLS token, and ConvNeXt has none; "
                "use bottleneck, lora or norm_bias"
            )
        blocks = resolve_after(self.settings.blocks, backbone.depth, backbone.blocks[-1])
        backbone.put_after((DagaV1 if self.settings.variant == "v1" else DagaV2)(self.settings, blocks, backbone.width))

    def describe(self, backbone: Backbone) -> str:
        """Which blocks, and how much of the backbone runs twice: once for the guidance, once adapted."""
        assert backbone.after_blocks is not None, "describes what was attached"
        blocks, deepest, last = backbone.after_blocks.blocks, backbone.blocks[-1], backbone.depth - 1
        # Of the last block the guidance needs the attention of CLS alone.
        twice, alone = range(blocks[0] + 1, min(deepest + 1, last)), range(deepest + 1, last)
        parts = [
            f"daga {self.settings.variant}: after {named(blocks)} of {backbone.depth}",
            f"{named(twice)} {'run' if len(twice) > 1 else 'runs'} twice, once for the guidance"
            if twice
            else "no block runs twice",
            *([f"{named(alone)} for the guidance alone"] if alone else []),
        ]
        return "; ".join(parts)


@final
class DagaV1(AfterBlocks):
    """Version 1: each layer reads the guidance by itself."""

    needs_guidance = True

    def __init__(self, settings: config.Daga, blocks: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.blocks = blocks
        # Named by variant, so that no run takes the other's weights by `training.initialize_from`.
        self.layers_v1 = nn.ModuleDict({str(block): DagaV1Layer(width, settings.hidden) for block in blocks})

    def prepare(self, guidance: Float[Tensor, "batch 1 h w"] | None, grid_hw: tuple[int, int]) -> Tensor:  # noqa: ARG002
        """The guidance as it is."""
        assert guidance is not None, "needs_guidance asks for it"
        return guidance

    def forward(
        self,
        block: int,
        patches: Float[Tensor, "batch cells width"],
        grid_hw: tuple[int, int],  # noqa: ARG002
        context: Tensor,
    ) -> Float[Tensor, "batch cells width"]:
        """Patches after a block, adapted."""
        adapted: Tensor = self.layers_v1[str(block)](patches, context)
        return adapted


@final
class DagaV2(AfterBlocks):
    """Version 2: the guidance is encoded once per image, all layers read that; deeper ones begin stronger."""

    needs_guidance = True

    def __init__(self, settings: config.Daga, blocks: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.blocks = blocks
        self.encoder = GuidanceEncoder()
        hidden, last = max(1, int(settings.ratio * width)), max(1, len(blocks) - 1)
        self.layers_v2 = nn.ModuleDict(
            {
                str(block): DagaV2Layer(width, hidden, settings.dropout, strength=0.1 + 0.05 * number / last)
                for number, block in enumerate(blocks)
            }
        )

    def prepare(self, guidance: Float[Tensor, "batch 1 h w"] | None, grid_hw: tuple[int, int]) -> Tensor:  # noqa: ARG002
        """The encoded guidance, [batch, 64, h / 2, w / 2] rounded up."""
        assert guidance is not None, "needs_guidance asks for it"
        encoded: Tensor = self.encoder(guidance)
        return encoded

    def forward(
        self, block: int, patches: Float[Tensor, "batch cells width"], grid_hw: tuple[int, int], context: Tensor
    ) -> Float[Tensor, "batch cells width"]:
        """Patches after a block, adapted."""
        adapted: Tensor = self.layers_v2[str(block)](patches, context, grid_hw)
        return adapted
