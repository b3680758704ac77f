"""After which blocks an adapter stands, for every preset and depth."""

import pytest

from dinotune.adapters.blocks import resolve_after
from dinotune.errors import SettingsError


@pytest.mark.parametrize(
    ("blocks", "depth", "deepest", "wanted"),
    [
        ("detection", 12, 11, (1, 2, 10, 11)),
        ("classification", 12, 11, (1, 2, 10, 11)),
        ("segmentation", 12, 11, (8, 9, 10, 11)),
        ("last", 12, 11, (11,)),
        ("detection", 24, 23, (1, 2, 22, 23)),
        ("detection", 12, 5, (1, 2, 4, 5)),
        ("detection", 4, 3, (1, 2, 3)),
        ("detection", 2, 1, (0, 1)),
        ("detection", 1, 0, (0,)),
        ("segmentation", 3, 2, (0, 1, 2)),
        ("segmentation", 12, 8, (5, 6, 7, 8)),
        ("last", 12, 8, (8,)),
        ((-1, 1, 2, -2), 12, 11, (1, 2, 10, 11)),
        ((0,), 1, 0, (0,)),
    ],
)
def test_resolved_by_depth_and_deepest_tap(
    blocks: str | tuple[int, ...], depth: int, deepest: int, wanted: tuple[int, ...]
) -> None:
    assert resolve_after(blocks, depth, deepest) == wanted


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ((4,), "adapter.blocks: there is no block 4; use -4 to 3"),
        ((-5, 1), "adapter.blocks: there is no block -5; use -4 to 3"),
        ((1, 3), "adapter.blocks: block 3 lies above the deepest tap"),
        ((1, -1), "adapter.blocks: block 3 lies above the deepest tap"),
    ],
)
def test_blocks_that_cannot_act_are_refused_by_name(blocks: tuple[int, ...], message: str) -> None:
    with pytest.raises(SettingsError, match=f"^{message}"):
        resolve_after(blocks, 4, 2)
