"""The contract every backbone keeps: images -> Cut -> Features, cut where learning begins."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from dinotune.backbones.slots import AfterBlocks
from dinotune.types import Cut, Features


@dataclass(frozen=True)
class WeightsIdentity:
    """Which weights a backbone holds; checkpoints store this instead of frozen weights."""

    id: str
    """The id or path as given in the settings."""
    sha256: str | None
    """Hash of the weight file (of the sorted shard hashes for several); none for random weights."""


@dataclass(frozen=True)
class CutPlace:
    """Where the frozen part of a backbone ends."""

    frozen_blocks: int
    """Number of leading blocks that it runs."""
    taps: tuple[int, ...]
    """Tapped blocks below the cut."""
    has_sequence: bool
    """Whether something runs behind it, apart from norms."""
    has_guidance: bool
    has_embedding: bool
    """Whether it holds the patch embedding; without, there is no frozen part."""


class Backbone(nn.Module, ABC):
    """A DINO model as a feature extractor.

    Images are RGB floats in [0, 1], ``[batch, 3, height, width]``; the backbone normalises them with
    the statistics of its checkpoint. Sides must be multiples of `size_multiple`.
    """

    width: int
    """Channels of the last block's output."""
    depth: int
    """Number of blocks, numbered from 0 (across stages for ConvNeXt)."""
    patch_size: int
    """Pixels per token; for ConvNeXt the stride of the last stage."""
    prefix_tokens: int
    """CLS and registers in front of the patch tokens; 0 for ConvNeXt."""
    size_multiple: int
    """Image sides must be multiples of this."""
    blocks: tuple[int, ...]
    """The taps, resolved to 0-based block numbers, ascending."""
    channels: tuple[int, ...]
    """Channels of each tap's map."""
    strides: tuple[int, ...]
    """Stride of each tap's map in pixels."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    identity: WeightsIdentity
    after_blocks: AfterBlocks | None
    """The adapter after blocks, if there is one."""

    @abstractmethod
    def put_after(self, adapter: AfterBlocks) -> None:
        """Let an adapter act after its blocks. SettingsError where one lies above the deepest tap."""

    @abstractmethod
    def put_inside(self, parameters: Mapping[int, Sequence[nn.Parameter]], modules: Iterable[nn.Module] = ()) -> None:
        """Let parameters inside blocks learn in every epoch, in place of those before.

        Args:
            parameters: By block number; parameters of the blocks' modules.
            modules: Modules of these blocks that follow `train` and `eval` (dropout); all others of a frozen block
                stay in eval.

        Raises:
            SettingsError: a block lies above the deepest tap.
        """

    @abstractmethod
    def linear_layers(self, block: int) -> Mapping[str, tuple[str, ...]]:
        """Linear layers of a block: `qkv`, `proj`, `fc1`, `fc2` to their full names in the backbone.

        Attention's queries, keys and values are one layer; `fc1` of a gated MLP can be two. ConvNeXt has no
        attention.
        """

    @abstractmethod
    def block_modules(self, block: int) -> list[nn.Module]:
        """The modules that make up a block."""

    @abstractmethod
    def block_channels(self, block: int) -> int:
        """Channels of a block's output."""

    @abstractmethod
    def adapter_parameters(self) -> list[tuple[str, nn.Parameter]]:
        """Named parameters of the adapter, after blocks and inside them, each once."""

    @property
    @abstractmethod
    def cut_place(self) -> CutPlace:
        """Where the frozen part ends in the stage of `backbone.trainable` that holds now."""

    @abstractmethod
    def frozen_part(self, images: Float[Tensor, "batch 3 height width"]) -> Cut:
        """Run every leading block that neither learns nor depends on something that does (eval, no_grad)."""

    @abstractmethod
    def trained_part(self, cut: Cut) -> Features:
        """Run the blocks from the cut on, and the norms."""

    @abstractmethod
    def set_epoch(self, epoch: int) -> bool:
        """Enter the stage of `backbone.trainable` that holds in this epoch; true if something changed.

        Sets `requires_grad`, the cut, and train/eval of the blocks.
        """

    @abstractmethod
    def stage_parameters(self) -> list[tuple[float | None, list[tuple[str, nn.Parameter]]]]:
        """Named parameters that learn in any stage, without the adapter's, grouped by the stage's learning rate.

        Each is there once: the first stage that names it decides. Parameters of later stages are in the optimiser
        from the start and receive no gradient before their epoch.
        """

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Features:
        """Features of a batch: always ``trained_part(frozen_part(images))``."""
        return self.trained_part(self.frozen_part(images))
