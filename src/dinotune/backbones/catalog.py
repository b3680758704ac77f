"""Rows of `dinotune backbones`: the variants, their patch grid for a size, and whether they lie here. Loads no torch."""

from dataclasses import dataclass

from dinotune.backbones.sources import locate_locally
from dinotune.backbones.variants import VARIANTS, Variant


@dataclass(frozen=True)
class BackboneRow:
    """One published model."""

    id: str
    timm_id: str
    family: str
    width: int
    depth: int
    patch_size: int
    parameters: int
    licence: str
    gated: bool
    grid_hw: tuple[int, int] | None
    """Tokens down and across (ConvNeXt: cells of the last map) for the size asked for, rounded up to the patch; none without one."""
    note: str
    """The rounded size that the grid is for, where the one asked for does not fit."""
    local: str | None
    """Where the weights lie on this machine, if they do."""


def backbone_rows(size_hw: tuple[int, int] | None = None) -> list[BackboneRow]:
    """Every variant, with the patch grid for pictures of this height and width in pixels.

    Raises:
        WeightsError: DINOTUNE_WEIGHTS is set to something that is no folder.
    """
    return [_row(variant, size_hw) for variant in VARIANTS]


def _row(variant: Variant, size_hw: tuple[int, int] | None) -> BackboneRow:
    grid_hw, note = None, ""
    if size_hw is not None:
        patch = variant.patch_size
        height, width = (max(1, -(-side // patch)) * patch for side in size_hw)
        grid_hw = (height // patch, width // patch)
        if (height, width) != tuple(size_hw):
            note = f"at {height}x{width}, since {size_hw[0]}x{size_hw[1]} is no multiple of {patch}"
    return BackboneRow(
        id=variant.id,
        timm_id=variant.timm_id,
        family="dinov3-convnext" if variant.family == "convnext" else variant.family,
        width=variant.width,
        depth=variant.depth,
        patch_size=variant.patch_size,
        parameters=variant.parameters,
        licence=variant.licence,
        gated=variant.gated,
        grid_hw=grid_hw,
        note=note,
        local=_local(variant),
    )


def _local(variant: Variant) -> str | None:
    for id_ in (variant.id, variant.timm_id):
        source = locate_locally(id_)
        if source is not None:
            return f"{source.path} ({source.found})"
    return None
