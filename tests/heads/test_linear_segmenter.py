"""The linear segmenter: as in the papers, pixels that are ignored change nothing, all kinds of backbones."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from dinotune import config
from dinotune.backbones.load import build_backbone
from dinotune.config.tasks import IGNORED
from dinotune.heads.linear_segmenter import LinearSegmenterHead
from dinotune.testing import check_head
from dinotune.testing.models import TINY
from dinotune.types import Features, Targets

WIDTH, CLASSES = 32, 5


def make_head(taps: int = 1, **settings: object) -> LinearSegmenterHead:
    torch.manual_seed(0)
    checked = config.LinearSegmenter.model_validate(settings)
    return LinearSegmenterHead(checked, (WIDTH,) * taps, (16,) * taps, CLASSES)


def make_features(taps: int = 1, batch: int = 2, rows: int = 4, columns: int = 6) -> Features:
    generator = torch.Generator().manual_seed(1)
    maps = tuple(torch.randn(batch, WIDTH, rows, columns, generator=generator) for _ in range(taps))
    return Features(maps, (16,) * taps, torch.zeros(batch, WIDTH), (), (16 * rows, 16 * columns))


def make_targets(batch: int = 2, hw: tuple[int, int] = (64, 96)) -> Targets:
    maps = torch.randint(0, CLASSES, (batch, *hw), generator=torch.Generator().manual_seed(2)).short()
    maps[:, :5] = IGNORED
    return Targets((), (), class_maps=maps)


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
@pytest.mark.parametrize("blocks", ["last", "quarters"])
def test_every_check(norm: str, blocks: str) -> None:
    backbone, _ = build_backbone(TINY.model_copy(update={"blocks": (0, 1) if blocks == "quarters" else "last"}))
    settings = config.LinearSegmenter.model_validate({"norm": norm})
    check_head(lambda c, s, classes: LinearSegmenterHead(settings, c, s, classes), backbone=backbone)


def test_every_check_on_maps_of_several_strides() -> None:
    backbone, _ = build_backbone(
        config.Backbone(id="tiny-convnext", blocks=(1, 3), tiny=config.TinyShape(width=32, depth=4))
    )
    check_head(lambda c, s, classes: LinearSegmenterHead(config.LinearSegmenter(), c, s, classes), backbone=backbone)


@pytest.mark.parametrize(
    ("width", "taps", "classes", "parameters"),
    [(384, 4, 150, 233_622), (384, 1, 150, 384 * 150 + 150 + 2 * 384)],
)
@pytest.mark.parametrize("norm", ["group", "batch"])
def test_number_of_parameters(width: int, taps: int, classes: int, parameters: int, norm: str) -> None:
    settings = config.LinearSegmenter.model_validate({"norm": norm})
    head = LinearSegmenterHead(settings, (width,) * taps, (16,) * taps, classes)
    assert sum(parameter.numel() for parameter in head.parameters()) == parameters


def test_loss_and_scores_are_those_of_a_head_put_together_by_hand() -> None:
    head = make_head(taps=2, norm="group").eval()
    features, targets = make_features(taps=2), make_targets()
    by_hand = nn.Sequential(nn.GroupNorm(32, 2 * WIDTH), nn.Conv2d(2 * WIDTH, CLASSES, 1))
    by_hand.load_state_dict({"0.weight": head.norm.weight, "0.bias": head.norm.bias} | {
        "1.weight": head.classify.weight, "1.bias": head.classify.bias,
    })  # fmt: skip
    logits = by_hand(torch.cat(features.maps, dim=1))
    torch.testing.assert_close(head.predict(features).scores, logits)
    assert targets.class_maps is not None
    pixels = functional.interpolate(logits, size=(64, 96), mode="bilinear", align_corners=False)
    expected = functional.cross_entropy(pixels, targets.class_maps.long(), ignore_index=IGNORED)
    torch.testing.assert_close(head.loss(features, targets).total, expected)


def test_label_smoothing_is_torch_s() -> None:
    head = make_head(label_smoothing=0.1).eval()
    features, targets = make_features(), make_targets()
    assert targets.class_maps is not None
    pixels = functional.interpolate(head(features), size=(64, 96), mode="bilinear", align_corners=False)
    expected = functional.cross_entropy(pixels, targets.class_maps.long(), ignore_index=IGNORED, label_smoothing=0.1)
    torch.testing.assert_close(head.loss(features, targets).total, expected)


def test_batches_in_which_nothing_counts_teach_nothing_and_do_no_harm() -> None:
    head = make_head()
    nothing = Targets((), (), class_maps=torch.full((2, 64, 96), IGNORED, dtype=torch.int16))
    losses = head.loss(make_features(), nothing)
    assert losses.total.item() == 0
    losses.total.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in head.parameters())


def test_ignored_pixels_change_nothing() -> None:
    head = make_head(norm="none", dropout=0.0)
    features, targets = make_features(), make_targets()
    assert targets.class_maps is not None
    full = head.loss(features, targets).total
    pixels = functional.interpolate(head(features), size=(64, 96), mode="bilinear", align_corners=False)
    each = functional.cross_entropy(pixels, targets.class_maps.long().clamp(min=0), reduction="none")
    torch.testing.assert_close(full, each[targets.class_maps != IGNORED].mean())


def test_dropout_leaves_out_whole_maps() -> None:
    head = make_head(norm="none", dropout=0.5).train()
    with torch.no_grad():
        head.classify.weight.fill_(1.0)
    one_channel = torch.zeros(1, WIDTH, 4, 6)
    one_channel[:, 3] = 1.0
    features = Features((one_channel,), (16,), torch.zeros(1, WIDTH), (), (64, 96))
    for seed in range(5):
        torch.manual_seed(seed)
        assert head(features)[0, 0].unique().numel() == 1
