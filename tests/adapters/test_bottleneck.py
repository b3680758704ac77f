"""The plain bottleneck: its equation, its size beside DAGA's, and all backbones."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from dinotune import config
from dinotune.adapters.bottleneck import BottleneckAdapter, BottleneckLayer, Bottlenecks
from dinotune.adapters.daga import DagaV2
from dinotune.backbones.base import Backbone
from dinotune.backbones.load import build_backbone
from dinotune.backbones.variants import TINY_IDS
from dinotune.errors import SettingsError


@pytest.fixture(autouse=True)
def _same_numbers() -> None:
    torch.manual_seed(0)


def tiny(id_: str) -> Backbone:
    shape = config.TinyShape(width=32, image_size=64)
    return build_backbone(config.Backbone(id=id_, tiny=shape))[0]


def size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_is_its_equation_and_begins_as_the_identity() -> None:
    layer = BottleneckLayer(8, 3, dropout=0.5, scale=2.0).eval()
    x = torch.randn(2, 5, 8)
    assert torch.equal(layer(x), x)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.randn(parameter.shape))
    inner = functional.gelu(x @ layer.down.weight.T + layer.down.bias)
    assert torch.allclose(layer(x), x + 2 * (inner @ layer.up.weight.T + layer.up.bias), atol=1e-5)
    layer.train()
    assert not torch.equal(layer(x), layer(x)), "dropout"


@pytest.mark.parametrize(("width", "ratio"), [(384, 0.52), (768, 0.36), (1024, 0.33)])
def test_documented_ratios_give_the_size_of_daga(width: int, ratio: float) -> None:
    blocks = (1, 2, 10, 11)
    daga = DagaV2(config.Daga(), blocks, width)
    control = Bottlenecks(config.Bottleneck(ratio=ratio), dict.fromkeys(blocks, width))
    assert size(control) == pytest.approx(size(daga), rel=0.01)
    assert f"{ratio} for " in str(config.Bottleneck.__doc__)


def test_width_wins_over_ratio() -> None:
    backbone = tiny("tiny-dinov2")
    BottleneckAdapter(config.Bottleneck(width=5, ratio=0.5, blocks="last")).attach(backbone)
    assert backbone.after_blocks is not None
    assert size(backbone.after_blocks) == 32 * 5 + 5 + 5 * 32 + 32


@pytest.mark.parametrize("blocks", ["last", (0, 2), "all"])
@pytest.mark.parametrize("id_", TINY_IDS)
def test_acts_on_every_backbone_and_learns_everywhere(id_: str, blocks: str | tuple[int, ...]) -> None:
    images = torch.rand(2, 3, 64, 96)
    backbone = tiny(id_).train()
    before = backbone(images).maps[0]
    BottleneckAdapter(config.Bottleneck.model_validate({"blocks": blocks, "dropout": 0})).attach(backbone)
    assert backbone.after_blocks is not None
    assert torch.equal(backbone(images).maps[0], before)
    with torch.no_grad():
        for parameter in backbone.after_blocks.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.1)
    after: Tensor = backbone(images).maps[0]
    assert not torch.allclose(after, before, atol=1e-3)
    (after * torch.randn_like(after)).sum().backward()
    assert all(p.grad is not None and p.grad.norm() > 0 for p in backbone.after_blocks.parameters())
    assert not any(p.requires_grad for p in backbone.get_submodule("encoder").parameters())


def test_blocks_above_the_deepest_tap_are_refused() -> None:
    backbone, _ = build_backbone(config.Backbone(id="tiny-dinov3", blocks=(1,)))
    with pytest.raises(SettingsError, match=r"^adapter\.blocks: block 3 lies above the deepest tap"):
        BottleneckAdapter(config.Bottleneck(blocks=(-1,))).attach(backbone)
