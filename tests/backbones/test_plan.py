"""Taps and stages by depth: presets, negative numbers, and errors that name what would work."""

import pytest

from dinotune import config
from dinotune.backbones.plan import Stage, resolve_blocks, resolve_stages, stage_at
from dinotune.errors import SettingsError


@pytest.mark.parametrize(
    ("blocks", "depth", "resolved"),
    [
        ("last", 12, (11,)),
        ("quarters", 12, (2, 5, 8, 11)),
        ("quarters", 24, (5, 11, 17, 23)),
        ("quarters", 40, (9, 19, 29, 39)),
        ("quarters", 4, (0, 1, 2, 3)),
        ((11, 2, -4), 12, (2, 8, 11)),
        ((-12,), 12, (0,)),
    ],
)
def test_taps(blocks: tuple[int, ...] | str, depth: int, resolved: tuple[int, ...]) -> None:
    assert resolve_blocks(blocks, depth) == resolved


@pytest.mark.parametrize(
    ("blocks", "depth", "message"),
    [
        ((12,), 12, "backbone.blocks: there is no block 12; use -12 to 11"),
        ((-13,), 12, "backbone.blocks: there is no block -13; use -12 to 11"),
        ((11, -1), 12, r"names a block twice; use \[11\]"),
        ("quarters", 3, "needs at least 4 blocks, this backbone has 3"),
    ],
)
def test_wrong_taps(blocks: tuple[int, ...] | str, depth: int, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        resolve_blocks(blocks, depth)


def test_stages_come_in_order_of_their_epoch_and_add_up() -> None:
    settings = config.Backbone.model_validate(
        {"trainable": [{"blocks": "all", "from_epoch": 9}, {"blocks": 2, "learning_rate": "1e-5"}]}
    )
    stages = resolve_stages(settings.trainable, depth=12, deepest=11)
    assert stages[0] == Stage(frozenset({10, 11}), False, 0, 1e-5)
    assert stage_at(stages, 8) == Stage(frozenset({10, 11}))
    assert stage_at(stages, 9) == Stage(frozenset(range(12)), embedding=True)


@pytest.mark.parametrize(
    ("trainable", "message"),
    [
        ([{"blocks": [12]}], "backbone.trainable.blocks: there is no block 12; use -12 to 11"),
        (13, "13 is more than the 12 blocks of this backbone; use 12 or all"),
        (1, "block 11 lies above the deepest tap and would never run; add 11 to backbone.blocks or let blocks up to 8"),
    ],
)
def test_wrong_stages(trainable: object, message: str) -> None:
    settings = config.Backbone.model_validate({"trainable": trainable})
    with pytest.raises(SettingsError, match=message):
        resolve_stages(settings.trainable, depth=12, deepest=8)


def test_all_leaves_out_what_never_runs() -> None:
    settings = config.Backbone.model_validate({"trainable": "all"})
    assert resolve_stages(settings.trainable, depth=12, deepest=8)[0].blocks == frozenset(range(9))
