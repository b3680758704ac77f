"""Settings of the backbone: which DINO model, which blocks are read, what in it may learn."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from dinotune.config.base import Count, Integer, PositiveFloat, Section, Switch

Blocks = Annotated[tuple[Integer, ...], Field(min_length=1)]
LearningBlocks = Annotated[int, Field(strict=True, ge=1)] | Blocks | Literal["all"]


class TrainableStage(Section):
    """From one epoch on, these blocks of the backbone learn."""

    blocks: LearningBlocks
    """A number k for the last k blocks, a list of 0-based block numbers (negative ones count from the end), or `all`, which adds the patch embedding, tokens and positions. The final norm learns with any of them."""
    from_epoch: Annotated[int, Field(strict=True, ge=0)] = 0
    """First epoch (0-based) in which these blocks learn."""
    learning_rate: PositiveFloat | None = None
    """Learning rate of these parameters; none takes `training.learning_rate`."""

    @classmethod
    def expand(cls, value: Any) -> Any:
        """A number, a list or `all` stands for `blocks`."""
        return {"blocks": value} if isinstance(value, int | str | list | tuple) else value


class TinyShape(Section):
    """Shape of the `tiny-…` backbones with random weights: each takes what its family has; all others refuse it."""

    width: Count = 64
    """Channels of the tokens (of the first stage for ConvNeXt); a multiple of 32."""
    depth: Count = 4
    """Number of blocks (for ConvNeXt one per stage, so 4)."""
    patch_size: Count = 16
    """Side of a patch in pixels (ViT only)."""
    image_size: Count = 224
    """Side in pixels of the square grid that learned positions are stored for (DINOv2 only)."""


def _as_stages(value: Any) -> Any:
    if value in (None, "none", 0, (), []):
        return ()
    stages = isinstance(value, list | tuple) and not all(isinstance(number, int) for number in value)
    return value if stages else [value]


class Backbone(Section):
    """Which DINO backbone produces the features, which blocks are read, and what in it learns."""

    takes_text: ClassVar[bool] = True

    id: str = "facebook/dinov2-with-registers-small"
    """Hub id (`facebook/…`, `timm/…`), snapshot folder, weight file (`.pth`, `.safetensors`), or `tiny-dinov2`, `tiny-dinov2-reg`, `tiny-dinov3`, `tiny-convnext` for random weights."""
    blocks: Blocks | Literal["last", "quarters"] = "last"
    """The taps: 0-based block numbers whose output the head reads; negative ones count from the end. `last` is the last block, `quarters` the last block of each quarter of the depth. ConvNeXt takes stage ends only."""
    tap_norm: Literal["final_norm", "batch_norm", "none"] = "final_norm"
    """Norm of the taps before the last block: the backbone's final LayerNorm, a learned BatchNorm per tap, or none. The last block always goes through the final LayerNorm."""
    trainable: Annotated[tuple[TrainableStage, ...], BeforeValidator(_as_stages)] = ()
    """What learns in the backbone and from which epoch: empty (frozen), a stage, or a list of stages."""
    rope_jitter: Switch = False
    """Let a DINOv3 backbone that learns rescale its RoPE coordinates at random while training, as in pretraining."""
    tiny: TinyShape | None = None
    """Shape of a `tiny-…` backbone; none takes the defaults."""

    @classmethod
    def expand(cls, value: Any) -> Any:
        """A text stands for `id`."""
        return {"id": value} if isinstance(value, str) else value

    @classmethod
    def outdated(cls, old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[str, ...]:
        """The shape of a tiny backbone goes when another kind of backbone comes."""
        comes = new.get("id", "tiny-")
        leaves = isinstance(comes, str) and not comes.startswith("tiny-")
        return ("tiny",) if leaves and old.get("tiny") is not None and "tiny" not in new else ()

    @model_validator(mode="after")
    def _tiny_shape_needs_tiny_id(self) -> "Backbone":
        if self.tiny is not None and not self.id.startswith("tiny-"):
            raise ValueError(f'tiny: only `tiny-…` backbones take a shape, id is "{self.id}"; remove `tiny`')
        return self
