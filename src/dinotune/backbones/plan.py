"""Which blocks are read and which learn when: settings resolved by depth. Loads no torch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dinotune import config
from dinotune.errors import SettingsError


@dataclass(frozen=True)
class Stage:
    """A stage of `backbone.trainable` with resolved block numbers."""

    blocks: frozenset[int] = frozenset()
    embedding: bool = False
    """Whether patch embedding, tokens and positions learn too."""
    from_epoch: int = 0
    learning_rate: float | None = None


def resolve_blocks(blocks: Sequence[int] | str, depth: int, stage_ends: Sequence[int] = ()) -> tuple[int, ...]:
    """The taps as ascending 0-based block numbers.

    `quarters` is m * depth // 4 - 1 for m = 1..4, for ConvNeXt the `stage_ends`.

    Raises:
        SettingsError: out of range, named twice, or not the end of a stage.
    """
    match blocks:
        case "last":
            return (depth - 1,)
        case "quarters" if stage_ends:
            return tuple(stage_ends)
        case "quarters":
            if depth < 4:
                raise SettingsError(
                    f"backbone.blocks: quarters needs at least 4 blocks, this backbone has {depth}; use last"
                )
            return tuple(m * depth // 4 - 1 for m in (1, 2, 3, 4))
    resolved = sorted(_resolve(int(number), depth, "backbone.blocks") for number in blocks)
    if len(set(resolved)) < len(resolved):
        raise SettingsError(f"backbone.blocks: {list(blocks)} names a block twice; use {sorted(set(resolved))}")
    wrong = [number for number in resolved if stage_ends and number not in stage_ends]
    if wrong:
        raise SettingsError(
            f"backbone.blocks: block {wrong[0]} is not the end of a stage; use some of {list(stage_ends)}"
        )
    return tuple(resolved)


def resolve_stages(stages: Sequence[config.TrainableStage], depth: int, deepest: int) -> tuple[Stage, ...]:
    """The stages in order of their epoch.

    Blocks above the `deepest` tap never run: `all` leaves them out, naming them is an error.
    """
    resolved = [
        Stage(
            frozenset(resolve_learning(stage.blocks, depth, deepest, "backbone.trainable.blocks")),
            stage.blocks == "all",
            stage.from_epoch,
            stage.learning_rate,
        )
        for stage in stages
    ]
    return tuple(sorted(resolved, key=lambda stage: stage.from_epoch))


def stage_at(stages: Sequence[Stage], epoch: int) -> Stage:
    """What learns in this epoch: later stages add to earlier ones."""
    begun = [stage for stage in stages if stage.from_epoch <= epoch]
    blocks = frozenset().union(*(stage.blocks for stage in begun))
    return Stage(blocks, any(stage.embedding for stage in begun))


def resolve_learning(
    blocks: int | Sequence[int] | str, depth: int, deepest: int, where: str = "adapter.blocks"
) -> tuple[int, ...]:
    """Blocks in or after which something learns, ascending: the last k, a list, or `all` up to the `deepest` tap.

    Raises:
        SettingsError: out of range, or above the deepest tap, where a block would never run; `where` names the setting.
    """
    match blocks:
        case "all":
            return tuple(range(deepest + 1))
        case int(count):
            if count > depth:
                raise SettingsError(
                    f"{where}: {count} is more than the {depth} blocks of this backbone; use {depth} or all"
                )
            chosen = list(range(depth - count, depth))
        case numbers:
            chosen = sorted({_resolve(int(number), depth, where) for number in numbers})
    refuse_above(chosen, deepest, where)
    return tuple(chosen)


def refuse_above(blocks: Iterable[int], deepest: int, where: str) -> None:
    """SettingsError where a block lies above the deepest tap."""
    highest = max(blocks, default=deepest)
    if highest > deepest:
        raise SettingsError(
            f"{where}: block {highest} lies above the deepest tap and would never run; "
            f"add {highest} to backbone.blocks or let blocks up to {deepest} learn"
        )


def _resolve(number: int, depth: int, where: str) -> int:
    if not -depth <= number < depth:
        raise SettingsError(f"{where}: there is no block {number}; use {-depth} to {depth - 1}")
    return number % depth
