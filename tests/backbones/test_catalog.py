"""Rows of `dinotune backbones`."""

from pathlib import Path

import pytest

from dinotune.backbones.catalog import backbone_rows
from dinotune.backbones.variants import VARIANTS
from tests.backbones.dino_references import oracle, write_snapshot


@pytest.fixture(autouse=True)
def _empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DINOTUNE_WEIGHTS", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def test_every_variant_has_a_row_with_its_facts() -> None:
    rows = backbone_rows()
    assert [row.id for row in rows] == [variant.id for variant in VARIANTS]
    assert [row.parameters for row in rows] == [variant.parameters for variant in VARIANTS]
    assert all(row.grid_hw is None and row.note == "" and row.local is None for row in rows)


@pytest.mark.parametrize(
    ("id_", "size_hw", "grid_hw", "note"),
    [
        ("facebook/dinov2-small", (448, 630), (32, 45), ""),
        ("facebook/dinov2-small", (640, 640), (46, 46), "at 644x644, since 640x640 is no multiple of 14"),
        ("facebook/dinov3-vits16-pretrain-lvd1689m", (640, 480), (40, 30), ""),
        ("facebook/dinov3-convnext-tiny-pretrain-lvd1689m", (640, 480), (20, 15), ""),
        (
            "facebook/dinov3-convnext-tiny-pretrain-lvd1689m",
            (600, 480),
            (19, 15),
            "at 608x480, since 600x480 is no multiple of 32",
        ),
    ],
)
def test_the_patch_grid_of_a_size(id_: str, size_hw: tuple[int, int], grid_hw: tuple[int, int], note: str) -> None:
    row = next(row for row in backbone_rows(size_hw) if row.id == id_)
    assert row.grid_hw == grid_hw
    assert row.note == note


def test_weights_on_this_machine_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_snapshot(oracle("dinov2"), tmp_path / "store" / "facebook--dinov2-small")
    write_snapshot(oracle("dinov3"), tmp_path / "store" / "timm" / "vit_small_patch16_dinov3.lvd1689m")
    monkeypatch.setenv("DINOTUNE_WEIGHTS", str(tmp_path / "store"))
    local = {row.id: row.local for row in backbone_rows() if row.local}
    assert set(local) == {"facebook/dinov2-small", "facebook/dinov3-vits16-pretrain-lvd1689m"}
    assert all(where.endswith("(DINOTUNE_WEIGHTS)") for where in local.values())
