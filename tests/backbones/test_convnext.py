"""Parity of DINOv3's ConvNeXt with transformers, its taps and its cut."""

from pathlib import Path

import pytest
import torch

from dinotune import config
from dinotune.backbones.load import build_backbone
from dinotune.errors import DinotuneError, SettingsError
from tests.backbones.dino_references import images, load, normalised, oracle, write_snapshot

STAGE_ENDS = (0, 2, 3, 4)  # of the oracle's depths 1, 2, 1, 1


def test_maps_and_cls_equal_transformers(tmp_path: Path) -> None:
    model = oracle("convnext")
    backbone = load(write_snapshot(model, tmp_path), blocks=STAGE_ENDS)
    features = backbone(images("convnext"))
    with torch.no_grad():
        theirs = model(normalised(images("convnext"), backbone), output_hidden_states=True)
    assert features.strides == (4, 8, 16, 32)
    assert backbone.channels == (8, 16, 32, 64)
    last = theirs.last_hidden_state[:, 1:].transpose(1, 2).reshape(2, 64, 3, 2)
    for ours, wanted in zip(features.maps, [*theirs.hidden_states[-4:-1], last], strict=True):
        assert torch.allclose(ours, wanted, atol=2e-5)
    assert torch.allclose(features.cls, theirs.pooler_output, atol=2e-5)
    assert features.prefix == ()


def test_the_final_norm_matters(tmp_path: Path) -> None:
    model = oracle("convnext")
    backbone = load(write_snapshot(model, tmp_path))
    before = backbone(images("convnext"))
    with torch.no_grad():
        backbone.get_parameter("encoder.head.norm.bias").add_(1.0)
    after = backbone(images("convnext"))
    assert torch.allclose(after.maps[0], before.maps[0] + 1, atol=1e-5)
    assert torch.allclose(after.cls, before.cls + 1, atol=1e-5)


def test_a_changed_region_moves_its_own_cell_most() -> None:
    backbone, _ = build_backbone(
        config.Backbone(id="tiny-convnext", blocks="quarters", tiny=config.TinyShape(width=32))
    )
    pictures = torch.rand(1, 3, 96, 160)
    changed = pictures.clone()
    changed[:, :, 32:64, 96:128] += 0.5
    for ours, before, stride in zip(
        backbone(changed).maps, backbone(pictures).maps, backbone.strides, strict=True
    ):  # fmt: skip
        row, column = divmod(int((ours - before).norm(dim=1).argmax()), 160 // stride)
        assert (row * stride // 32, column * stride // 32) == (1, 3)


def test_taps_are_stage_ends_only(tmp_path: Path) -> None:
    folder = write_snapshot(oracle("convnext"), tmp_path)
    assert load(folder, blocks="quarters").blocks == STAGE_ENDS
    with pytest.raises(SettingsError, match=r"block 1 is not the end of a stage; use some of \[0, 2, 3, 4\]"):
        load(folder, blocks=(1, -1))


def test_earlier_stages_can_be_normed_and_read_alone() -> None:
    settings = config.Backbone(
        id="tiny-convnext", blocks=(1, 2), tap_norm="batch_norm", tiny=config.TinyShape(width=32)
    )
    backbone, _ = build_backbone(settings)
    backbone.train()
    features = backbone(torch.rand(2, 3, 64, 64))
    assert [grid.shape for grid in features.maps] == [(2, 64, 8, 8), (2, 128, 4, 4)]
    assert features.maps[0].mean(dim=(0, 2, 3)).abs().max() < 1e-4
    assert features.cls.shape == (2, 128)
    with pytest.raises(DinotuneError, match="width 80 is not a multiple of 32; use 96"):
        backbone(torch.rand(1, 3, 64, 80))
