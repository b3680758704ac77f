"""What an adapter fills in a backbone that owns the places: a module after some blocks, parameters inside others."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn


class AfterBlocks(nn.Module, ABC):
    """An adapter that changes the patch tokens (the cells of a ConvNeXt's map) after some blocks.

    CLS and registers pass by. The tap of an adapted block is taken after the adapter.
    """

    blocks: tuple[int, ...]
    """Blocks after which it acts, 0-based."""
    needs_guidance: bool = False
    """Whether `prepare` wants the attention of CLS to the patches."""

    def prepare(self, guidance: Float[Tensor, "batch 1 h w"] | None, grid_hw: tuple[int, int]) -> Any:  # noqa: ARG002
        """What all blocks share, once per forward pass; handed to `forward` as `context`.

        Args:
            guidance: Attention of CLS to the patches in the last block of the model without adapter, mean over heads,
                scaled to [0, 1] per picture; none unless `needs_guidance`.
            grid_hw: Patches down and across after the first block of `blocks`.
        """
        return None

    @abstractmethod
    def forward(
        self, block: int, patches: Float[Tensor, "batch cells width"], grid_hw: tuple[int, int], context: Any
    ) -> Float[Tensor, "batch cells width"]:
        """Patch tokens after a block, row by row of the grid, to those that the next block takes."""


class Inside:
    """What learns inside blocks of the encoder beside `backbone.trainable`.

    Args:
        parameters: By block number. They learn in every epoch.
        modules: Modules that follow `train` and `eval` of the parent, such as those with dropout; all others of a
            frozen block stay in eval.
    """

    def __init__(
        self, parameters: Mapping[int, Sequence[nn.Parameter]] | None = None, modules: Iterable[nn.Module] = ()
    ) -> None:
        self.blocks = frozenset(parameters or ())
        self.parameters = [parameter for held in (parameters or {}).values() for parameter in held]
        self.modules = tuple(modules)
