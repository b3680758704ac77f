"""After which blocks an adapter stands: its `blocks` setting resolved for one backbone. Loads no torch."""

from collections.abc import Sequence

from dinotune.backbones.plan import resolve_learning


def named(blocks: Sequence[int]) -> str:
    """`block 3`, `blocks 8-10` or `blocks 1, 2, 10, 11`, for ascending numbers."""
    if len(blocks) == 1:
        return f"block {blocks[0]}"
    unbroken = len(blocks) > 2 and blocks[-1] - blocks[0] == len(blocks) - 1
    return f"blocks {blocks[0]}-{blocks[-1]}" if unbroken else f"blocks {', '.join(map(str, blocks))}"


def resolve_after(blocks: int | Sequence[int] | str, depth: int, deepest: int) -> tuple[int, ...]:
    """Block numbers, 0-based and ascending, of a preset, the last k, or a list (negative ones from the end).

    Presets count the blocks up to the `deepest` tap, as those above it never run; where there are few
    of them, places that coincide are taken once and places that do not exist are left out.

    Raises:
        SettingsError: out of range, or above the deepest tap.
    """
    match blocks:
        case "last":
            places = {deepest}
        case "segmentation":
            places = set(range(deepest - 3, deepest + 1))
        case "detection" | "classification":
            places = {1, 2, deepest - 1, deepest}
        case _:
            return resolve_learning(blocks, depth, deepest)
    return tuple(sorted(place for place in places if 0 <= place <= deepest))
