"""The contract every backbone keeps: images -> Cut -> Features, cut where learning begins."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from dinotune.types import Features


@dataclass(frozen=True)
class WeightsIdentity:
    """Which weights a backbone holds; checkpoints store this instead of frozen weights."""

    id: str
    """The id or path as given in the settings."""
    sha256: str | None
    """Hash of the weight file (of the sorted shard hashes for several); none for random weights."""


@dataclass(frozen=True)
class Cut:
    """What the frozen part computed: all that the trained part needs, before any norm.

    `taps` holds the raw output sequences (prefix tokens included, or maps for ConvNeXt) of every
    tapped block below the cut, by block number; `sequence` is the input of the first block that
    learns, the images themselves where the patch embedding learns, or none where everything is frozen.
    """

    taps: dict[int, Tensor]
    sequence: Tensor | None
    image_hw: tuple[int, int]


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

    @abstractmethod
    def frozen_part(self, images: Float[Tensor, "batch 3 height width"]) -> Cut:
        """Run every leading block in which nothing learns (eval, no_grad)."""

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
        """Named parameters that learn in any stage, grouped by the stage's learning rate, each once.

        (The first stage that names a parameter decides.) Parameters of later stages are in the
        optimiser from the start and receive no gradient before their epoch.
        """

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Features:
        """Features of a batch: always ``trained_part(frozen_part(images))``."""
        return self.trained_part(self.frozen_part(images))
