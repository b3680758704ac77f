"""Parity of DINOv2 and DINOv3 with transformers and with a forward pass written from the papers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dinotune import config
from dinotune.backbones.load import build_backbone
from dinotune.errors import DinotuneError, SettingsError
from dinotune.types import Features
from tests.backbones.dino_references import (
    DEPTH,
    PATCH,
    VITS,
    images,
    load,
    meta_state,
    normalised,
    oracle,
    reference_blocks,
    reference_norm,
    write_snapshot,
)

TOLERANCE = 2e-5
ALL = tuple(range(DEPTH))


@pytest.fixture(autouse=True)
def _same_pictures() -> None:
    torch.manual_seed(0)


def sequences(features: Features) -> list[Tensor]:
    return [
        torch.cat([prefix, grid.flatten(2).transpose(1, 2)], 1)
        for prefix, grid in zip(features.prefix, features.maps, strict=True)
    ]


def difference(ours: list[Tensor], theirs: list[Tensor]) -> float:
    assert [a.shape for a in ours] == [b.shape for b in theirs]
    return max(float((a - b).abs().max()) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("family", VITS)
def test_every_tap_equals_the_reference_where_leaving_parts_out_would_not(family: str, tmp_path: Path) -> None:
    model = oracle(family)
    backbone = load(write_snapshot(model, tmp_path), blocks=ALL)
    meta, pixels = meta_state(model, family), normalised(images(family), backbone)
    features = backbone(images(family))

    def reference(**changed: Any) -> list[Tensor]:
        raw = reference_blocks(meta, pixels, PATCH[family], **changed)
        return [reference_norm(meta, x) for x in raw]

    assert difference(sequences(features), reference(positions=False)) > 1000 * TOLERANCE
    assert difference(sequences(features), reference(heads=1)) > 1000 * TOLERANCE
    if backbone.prefix_tokens > 1:
        assert difference(sequences(features), reference(registers=False)) > 1000 * TOLERANCE
    assert difference(sequences(features), reference()) < TOLERANCE
    assert torch.allclose(features.cls, reference()[-1][:, 0], atol=TOLERANCE)


@pytest.mark.parametrize("family", ["dinov2-reg", "dinov3", "dinov3-gated"])
def test_every_tap_equals_transformers(family: str, tmp_path: Path) -> None:
    model = oracle(family)
    backbone = load(write_snapshot(model, tmp_path), blocks=ALL, tap_norm="none")
    features = backbone(images(family))
    with torch.no_grad():
        theirs = model(normalised(images(family), backbone), output_hidden_states=True)
    # hidden_states[0] is the stem; the last tap always goes through the final norm.
    wanted = [*theirs.hidden_states[1:-1], theirs.last_hidden_state]
    assert difference(sequences(features), wanted) < TOLERANCE
    assert difference(sequences(features), list(theirs.hidden_states[1:])) > 1000 * TOLERANCE


@pytest.mark.parametrize("family", ["dinov2", "dinov2-gated"])
def test_dinov2_equals_transformers_on_the_stored_grid_only(family: str, tmp_path: Path) -> None:
    """Elsewhere transformers interpolates without Meta's offset of 0.1."""
    model = oracle(family)
    backbone = load(write_snapshot(model, tmp_path))
    for side, equal in ((70, True), (84, False)):
        pictures = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            theirs = model(normalised(pictures, backbone)).last_hidden_state
        assert (difference(sequences(backbone(pictures)), [theirs]) < TOLERANCE) is equal


@pytest.mark.parametrize("family", ["dinov2", "dinov2-reg", "dinov3"])
def test_a_changed_patch_changes_its_own_cell_most(family: str, tmp_path: Path) -> None:
    patch, batch = PATCH[family], images(family, batch=1)
    backbone = load(write_snapshot(oracle(family), tmp_path), blocks=(0,), tap_norm="none")
    rows, columns = batch.shape[2] // patch, batch.shape[3] // patch
    before = backbone(batch).maps[0]
    assert before.shape[2:] == (rows, columns)
    for row, column in ((0, 0), (2, columns - 1), (rows - 1, 1)):
        changed = batch.clone()
        changed[:, :, row * patch : (row + 1) * patch, column * patch : (column + 1) * patch] += 0.5
        moved = (backbone(changed).maps[0] - before).norm(dim=1)[0]
        assert divmod(int(moved.argmax()), columns) == (row, column)


@pytest.mark.parametrize(("id_", "patch"), [("tiny-dinov2", 14), ("tiny-dinov2-reg", 14), ("tiny-dinov3", 16)])
def test_alone_and_in_a_batch_a_picture_has_the_same_features(id_: str, patch: int) -> None:
    backbone, _ = build_backbone(config.Backbone(id=id_, tiny=config.TinyShape(patch_size=patch, image_size=4 * patch)))
    batch = torch.rand(3, 3, 4 * patch, 6 * patch)
    alone = backbone(batch[1:2])
    assert torch.allclose(alone.maps[0], backbone(batch).maps[0][1:2], atol=1e-5)


@pytest.mark.parametrize(
    ("size_hw", "message"),
    [
        ((500, 504), "height 500 is not a multiple of 14; use 504"),
        ((504, 518 + 2), "width 520 is not a multiple of 14; use 532"),
        ((5, 14), "height 5 is not a multiple of 14; use 14"),
    ],
)
def test_other_sizes_are_refused_with_the_size_that_works(size_hw: tuple[int, int], message: str) -> None:
    backbone, _ = build_backbone(config.Backbone(id="tiny-dinov2", tiny=config.TinyShape(patch_size=14, width=32)))
    with pytest.raises(DinotuneError, match=f"^{message}$"):
        backbone(torch.zeros(1, 3, *size_hw))


def test_a_tap_does_not_see_the_block_after_it() -> None:
    backbone, _ = build_backbone(config.Backbone(id="tiny-dinov3", blocks=(1, 3), tap_norm="none"))
    pictures = torch.rand(1, 3, 64, 96)
    before = backbone(pictures)
    with torch.no_grad():
        for parameter in backbone.get_submodule("encoder.blocks.2").parameters():
            parameter.add_(0.1)
    after = backbone(pictures)
    assert torch.equal(before.maps[0], after.maps[0])
    assert not torch.allclose(before.maps[1], after.maps[1])


def test_blocks_above_the_deepest_tap_never_run() -> None:
    backbone, _ = build_backbone(config.Backbone(id="tiny-dinov3", blocks=(0, 1)))
    ran = []
    for number in range(4):
        backbone.get_submodule(f"encoder.blocks.{number}").register_forward_hook(
            lambda *_, number=number: ran.append(number)
        )
    features = backbone(torch.rand(1, 3, 32, 32))
    assert ran == [0, 1]
    assert torch.equal(features.cls, features.prefix[-1][:, 0])


def test_pre_norm_features_are_of_another_magnitude() -> None:
    taps = {
        norm: build_backbone(config.Backbone(id="tiny-dinov3", blocks=(2, 3), tap_norm=norm))[0]
        for norm in ("final_norm", "none", "batch_norm")
    }
    pictures = torch.rand(2, 3, 64, 64)
    spread = {norm: [float(grid.detach().std()) for grid in backbone(pictures).maps] for norm, backbone in taps.items()}
    assert spread["final_norm"][0] == pytest.approx(1.0, abs=0.1)
    assert abs(spread["none"][0] - 1) > 0.2
    assert {round(values[1], 6) for values in spread.values()} == {round(spread["none"][1], 6)}
    taps["batch_norm"].train()
    features = taps["batch_norm"](pictures)
    assert features.maps[0].detach().std(dim=(0, 2, 3)).mean() == pytest.approx(1.0, abs=0.05)
    assert features.prefix[0].shape == (2, 5, 64)


@pytest.mark.parametrize("id_", ["tiny-dinov2-reg", "tiny-dinov3"])
def test_autocast_keeps_features_close(id_: str) -> None:
    """Weights, residuals and norms stay fp32: the error is that of bf16 products alone, 0.3 % here."""
    backbone, _ = build_backbone(config.Backbone(id=id_, blocks=(0, 3)))
    pictures = torch.rand(2, 3, 96, 64)
    exact = backbone(pictures)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = backbone(pictures)
    for ours, wanted in zip(rounded.maps, exact.maps, strict=True):
        assert ours.dtype == torch.float32
        error = (ours - wanted).norm() / wanted.norm()
        assert 0 < error < 0.005


def test_rope_jitter_is_off_unless_asked_for_and_only_in_blocks_that_learn() -> None:
    pictures = torch.rand(1, 3, 64, 64)
    for jitter in (False, True):
        settings = config.Backbone.model_validate(
            {"id": "tiny-dinov3", "blocks": (1, 3), "trainable": 2, "rope_jitter": jitter}
        )
        backbone, _ = build_backbone(settings)
        backbone.train()
        first, second = backbone(pictures), backbone(pictures)
        assert torch.equal(first.maps[0], second.maps[0])
        assert torch.equal(first.maps[1], second.maps[1]) is not jitter
        backbone.eval()
        assert torch.equal(backbone(pictures).maps[1], backbone(pictures).maps[1])


def test_rope_jitter_without_rope_is_refused() -> None:
    with pytest.raises(SettingsError, match="tiny-dinov2 has no RoPE"):
        build_backbone(config.Backbone(id="tiny-dinov2", rope_jitter=True))
