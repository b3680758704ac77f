"""DINOv2 (learned positions, arXiv 2304.07193) and DINOv3 (RoPE, 2508.10104) on timm's blocks, one class."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from dinotune import config
from dinotune.backbones.base import WeightsIdentity
from dinotune.backbones.guidance import as_guidance, cls_attention
from dinotune.backbones.positions import interpolate_positions, rope
from dinotune.backbones.shapes import VitShape
from dinotune.backbones.snapshots import Statistics
from dinotune.backbones.staged import StagedBackbone
from dinotune.errors import SettingsError
from dinotune.types import Features

OFFICIAL_OFFSET = 0.1
"""Of Meta's position interpolation for DINOv2 without registers; the models with registers have none."""


class VitBackbone(StagedBackbone):
    """A vision transformer; sequences are [batch, prefix + h * w, width], CLS and registers first.

    `Features.cls` is the CLS token of the deepest tap after the final norm, so blocks above it need
    not run. Positions, RoPE and norms stay fp32 under autocast.
    """

    def __init__(
        self,
        encoder: nn.Module,
        shape: VitShape,
        settings: config.Backbone,
        statistics: Statistics,
        identity: WeightsIdentity,
    ) -> None:
        super().__init__()
        if settings.rope_jitter and not shape.rotary:
            raise SettingsError(f"backbone.rope_jitter: {settings.id} has no RoPE; remove it or use a DINOv3 model")
        self.encoder, self.shape = encoder, shape
        self.width, self.depth, self.patch_size = shape.width, shape.depth, shape.patch_size
        self.prefix_tokens, self.size_multiple = 1 + shape.registers, shape.patch_size
        self.rope_jitter = settings.rope_jitter
        self._prepare(settings, statistics, identity)

    @property
    def final_norm(self) -> nn.Module:
        """The LayerNorm after the last block."""
        return self.encoder.get_submodule("norm")

    def _embed(self, images: Float[Tensor, "batch 3 height width"]) -> Tensor:
        grid_hw = self._grid((images.shape[-2], images.shape[-1]))
        patches = self.encoder.get_submodule("patch_embed.proj")(images).flatten(2).transpose(1, 2)
        assert patches.shape[1] == grid_hw[0] * grid_hw[1], "one token per patch"
        prefix: list[Tensor] = [self.encoder.get_parameter("cls_token")]
        if not self.shape.rotary:
            positions = self.encoder.get_parameter("pos_embed")
            if self.shape.registers:  # their CLS position is folded into the token
                patches = patches + interpolate_positions(positions, grid_hw, offset=0.0)
            else:
                prefix[0] = prefix[0] + positions[:, :1]
                patches = patches + interpolate_positions(positions[:, 1:], grid_hw, offset=OFFICIAL_OFFSET)
        if self.shape.registers:
            prefix.append(self.encoder.get_parameter("reg_token"))
        return torch.cat([*(token.expand(len(images), -1, -1) for token in prefix), patches], dim=1)

    def _block_options(self, image_hw: tuple[int, int], device: torch.device, *, learning: bool) -> dict[str, Any]:
        if not self.shape.rotary:
            return {}
        jitter = self.rope_jitter and self.training and learning
        head_width = self.width // self.shape.heads
        return {"rope": rope(self._grid(image_hw), head_width, self.shape.rope_theta, device, rescale=jitter)}

    def _change_cells(self, x: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        prefix, patches = x[:, : self.prefix_tokens], x[:, self.prefix_tokens :]
        return torch.cat([prefix, change(patches)], dim=1)

    def _guidance(self, x: Tensor, image_hw: tuple[int, int], options: dict[str, Any]) -> Tensor:
        last = self.encoder.get_submodule(f"blocks.{self.depth - 1}")
        return as_guidance(cls_attention(last, x, self.prefix_tokens, options.get("rope")), self._grid(image_hw))

    def linear_layers(self, block: int) -> dict[str, tuple[str, ...]]:
        """`qkv`, `proj`, `fc1` and `fc2`; `fc1` of DINOv3's gated MLP is two layers."""
        place = f"encoder.blocks.{block}"
        mlp = self.get_submodule(f"{place}.mlp")
        fc1 = ("fc1",) if hasattr(mlp, "fc1") else ("fc1_g", "fc1_x")
        return {
            "qkv": (f"{place}.attn.qkv",),
            "proj": (f"{place}.attn.proj",),
            "fc1": tuple(f"{place}.mlp.{name}" for name in fc1),
            "fc2": (f"{place}.mlp.fc2",),
        }

    def _features(self, taps: dict[int, Tensor], image_hw: tuple[int, int]) -> Features:
        maps, prefix = zip(*(self._normed(block, taps[block], image_hw) for block in self.blocks), strict=True)
        cls = self.final_norm(taps[self.blocks[-1]][:, 0])
        return Features(maps=maps, strides=self.strides, cls=cls, prefix=prefix, image_hw=image_hw)

    def _normed(self, block: int, sequence: Tensor, image_hw: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Map and prefix tokens of a tap after its norm."""
        if self._goes_through_final_norm(block):
            sequence = self.final_norm(sequence)
        prefix, patches = sequence[:, : self.prefix_tokens], sequence[:, self.prefix_tokens :]
        grid = patches.transpose(1, 2).reshape(len(patches), self.width, *self._grid(image_hw))
        if str(block) in self.tap_norms:
            norm = self.tap_norms[str(block)]
            grid, prefix = norm(grid), _like_map(norm, prefix)
        return grid, prefix

    def _goes_through_final_norm(self, block: int) -> bool:
        return block == self.depth - 1 or self.tap_norm == "final_norm"

    def _uses_final_norm(self) -> bool:
        return any(self._goes_through_final_norm(block) for block in self.blocks)

    def block_modules(self, block: int) -> list[nn.Module]:
        """The transformer block alone."""
        return [self.encoder.get_submodule(f"blocks.{block}")]

    def _embedding_parameters(self) -> Iterable[nn.Parameter]:
        names = ("patch_embed", "cls_token", "reg_token", "pos_embed")
        return [parameter for name, parameter in self.encoder.named_parameters() if name.startswith(names)]

    def block_channels(self, block: int) -> int:  # noqa: ARG002 - all blocks are alike
        """The width of the tokens."""
        return self.width

    def _block_stride(self, block: int) -> int:  # noqa: ARG002
        return self.patch_size

    def _grid(self, image_hw: tuple[int, int]) -> tuple[int, int]:
        return image_hw[0] // self.patch_size, image_hw[1] // self.patch_size


def _like_map(norm: nn.Module, tokens: Tensor) -> Tensor:
    """Prefix tokens by the running statistics of their map's BatchNorm: too few for statistics of their own."""
    assert isinstance(norm, nn.BatchNorm2d | nn.SyncBatchNorm), "tap norms are BatchNorms"
    normed = functional.batch_norm(
        tokens.transpose(1, 2), norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
    )
    return normed.transpose(1, 2)
