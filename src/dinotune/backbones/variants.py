"""The table of DINO models: every fact about a variant stands here once, checked against built models.

DINOv2: arXiv 2304.07193, registers: 2309.16588, DINOv3: 2508.10104. Loads no torch.
"""

import re
from dataclasses import dataclass
from typing import Literal

Family = Literal["dinov2", "dinov3", "convnext"]

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SATELLITE_MEAN, SATELLITE_STD = (0.430, 0.411, 0.296), (0.213, 0.156, 0.143)
TINY_IDS = ("tiny-dinov2", "tiny-dinov2-reg", "tiny-dinov3", "tiny-convnext")
DINOV2_LICENCE, DINOV3_LICENCE = "Apache-2.0", "DINOv3 License"


@dataclass(frozen=True)
class Variant:
    """One published model."""

    id: str
    """Meta's hub id."""
    family: Family
    timm_id: str
    """Id of timm's ungated copy on the hub."""
    pth_pattern: str
    """Regular expression for the name of Meta's own weight file."""
    width: int
    """Channels of the last block's output."""
    depth: int
    patch_size: int
    """Pixels per token; 32 (the stride of the last stage) for ConvNeXt."""
    parameters: int
    """As Meta counts: with mask token, key biases and the CLS position."""
    heads: int = 0
    registers: int = 0
    mlp_hidden: int = 0
    """Hidden channels of the MLP; of each half of a gated one."""
    gated_mlp: bool = False
    widths: tuple[int, ...] = ()
    """Channels per stage (ConvNeXt)."""
    depths: tuple[int, ...] = ()
    """Blocks per stage (ConvNeXt)."""

    @property
    def gated(self) -> bool:
        """True where the hub asks to accept a licence first."""
        return self.family != "dinov2"

    @property
    def licence(self) -> str:
        """Licence of the weights."""
        return DINOV3_LICENCE if self.gated else DINOV2_LICENCE

    @property
    def architecture(self) -> str:
        """Name of the architecture in timm, without the tag of the weights."""
        return self.timm_id.removeprefix("timm/").partition(".")[0]


def _dinov2() -> list[Variant]:
    rows = (
        ("small", "s", 384, 12, 6, 1536, 22_056_576),
        ("base", "b", 768, 12, 12, 3072, 86_580_480),
        ("large", "l", 1024, 24, 16, 4096, 304_368_640),
        ("giant", "g", 1536, 40, 24, 4096, 1_136_480_768),
    )
    return [
        Variant(
            id=f"facebook/dinov2-{'with-registers-' if registers else ''}{name}",
            family="dinov2",
            timm_id=f"timm/vit_{name}_patch14_{'reg4_' if registers else ''}dinov2.lvd142m",
            pth_pattern=rf"dinov2_vit{letter}14_{'reg4_' if registers else ''}pretrain\.pth",
            width=width,
            depth=depth,
            patch_size=14,
            parameters=parameters + registers * width,
            heads=heads,
            registers=registers,
            mlp_hidden=hidden,
            gated_mlp=name == "giant",
        )
        for registers in (0, 4)
        for name, letter, width, depth, heads, hidden, parameters in rows
    ]


def _dinov3() -> list[Variant]:
    rows = (
        ("vits16", "vit_small", 384, 12, 6, 1536, False, 21_601_152, "lvd1689m"),
        ("vits16plus", "vit_small_plus", 384, 12, 6, 1536, True, 28_697_472, "lvd1689m"),
        ("vitb16", "vit_base", 768, 12, 12, 3072, False, 85_669_632, "lvd1689m"),
        ("vitl16", "vit_large", 1024, 24, 16, 4096, False, 303_154_176, "lvd1689m"),
        ("vith16plus", "vit_huge_plus", 1280, 32, 20, 5120, True, 840_633_600, "lvd1689m"),
        ("vit7b16", "vit_7b", 4096, 40, 32, 8192, True, 6_716_043_264, "lvd1689m"),
        ("vitl16", "vit_large", 1024, 24, 16, 4096, False, 303_154_176, "sat493m"),
        ("vit7b16", "vit_7b", 4096, 40, 32, 8192, True, 6_716_043_264, "sat493m"),
    )
    return [
        Variant(
            id=f"facebook/dinov3-{name}-pretrain-{data}",
            family="dinov3",
            timm_id=f"timm/{timm_name}_patch16_dinov3.{data}",
            pth_pattern=rf"dinov3_{name}_pretrain_{data}(-[0-9a-f]+)?\.pth",
            width=width,
            depth=depth,
            patch_size=16,
            parameters=parameters,
            heads=heads,
            registers=4,
            mlp_hidden=hidden,
            gated_mlp=gated_mlp,
        )
        for name, timm_name, width, depth, heads, hidden, gated_mlp, parameters, data in rows
    ]


def _convnext() -> list[Variant]:
    rows = (
        ("tiny", 96, (3, 3, 9, 3), 27_820_128),
        ("small", 96, (3, 3, 27, 3), 49_454_688),
        ("base", 128, (3, 3, 27, 3), 87_566_464),
        ("large", 192, (3, 3, 27, 3), 196_230_336),
    )
    return [
        Variant(
            id=f"facebook/dinov3-convnext-{name}-pretrain-lvd1689m",
            family="convnext",
            timm_id=f"timm/convnext_{name}.dinov3_lvd1689m",
            pth_pattern=rf"dinov3_convnext_{name}_pretrain_lvd1689m(-[0-9a-f]+)?\.pth",
            width=8 * width,
            depth=sum(depths),
            patch_size=32,
            parameters=parameters,
            widths=tuple(width * factor for factor in (1, 2, 4, 8)),
            depths=depths,
        )
        for name, width, depths, parameters in rows
    ]


VARIANTS: tuple[Variant, ...] = (*_dinov2(), *_dinov3(), *_convnext())


def find_variant(name: str) -> Variant | None:
    """The variant that a hub id (Meta's or timm's, `_qkvb` copies too) or the name of a `.pth` file means."""
    plain = name.replace("_dinov3_qkvb", "_dinov3")
    for variant in VARIANTS:
        if plain in (variant.id, variant.timm_id) or re.fullmatch(variant.pth_pattern, name):
            return variant
    return None


def find_architecture(name: str) -> Variant | None:
    """The variant with this timm architecture (`vit_small_patch16_dinov3`, with or without `_qkvb` and tag)."""
    plain = name.partition(".")[0].replace("_dinov3_qkvb", "_dinov3")
    return next((variant for variant in VARIANTS if variant.architecture == plain), None)
