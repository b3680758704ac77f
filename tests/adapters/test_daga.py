"""DAGA in a backbone: the shared prefix, what runs twice, where gradients arrive, what is refused."""

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dinotune import config
from dinotune.adapters.daga import DagaAdapter
from dinotune.backbones.base import Backbone
from dinotune.backbones.guidance import as_guidance, cls_attention
from dinotune.backbones.load import build_backbone
from dinotune.backbones.positions import rope
from dinotune.backbones.slots import AfterBlocks
from dinotune.backbones.vit import VitBackbone
from dinotune.errors import SettingsError
from dinotune.types import Features

VITS = ("tiny-dinov2", "tiny-dinov2-reg", "tiny-dinov3")
DEPTH, WIDTH, GRID = 6, 32, (4, 6)


@pytest.fixture(autouse=True)
def _same_numbers() -> None:
    torch.manual_seed(0)


def tiny(id_: str, **settings: Any) -> Backbone:
    shape = config.TinyShape(width=WIDTH, depth=DEPTH, image_size=64)
    return build_backbone(config.Backbone.model_validate({"id": id_, "tiny": shape, **settings}))[0]


def with_daga(backbone: Backbone, *, randomised: bool = True, **settings: Any) -> AfterBlocks:
    """Attach DAGA; its parameters are moved so that zeros at the beginning hide nothing."""
    DagaAdapter(config.Daga(**settings)).attach(backbone)
    assert backbone.after_blocks is not None
    if randomised:
        with torch.no_grad():
            for parameter in backbone.after_blocks.parameters():
                parameter.add_(torch.randn(parameter.shape) * 0.1)
    return backbone.after_blocks


def tensors(features: Features) -> list[Tensor]:
    return [*features.maps, *features.prefix, features.cls]


def pictures(batch: int = 2) -> Tensor:
    return torch.rand(batch, 3, 16 * GRID[0], 16 * GRID[1])


def in_two_passes(backbone: Backbone, images: Tensor) -> dict[int, Tensor]:
    """Output of every block after its adapter; the guidance from a whole pass of its own."""
    adapter = backbone.after_blocks
    assert adapter is not None
    assert isinstance(backbone, VitBackbone)
    rotation = rope(GRID, WIDTH // backbone.shape.heads, 100.0, images.device)
    options = {"rope": rotation} if backbone.shape.rotary else {}
    blocks = [backbone.block_modules(number)[0] for number in range(DEPTH)]
    start = x = backbone._embed(backbone._normalise(images))
    for block in blocks[:-1]:
        x = block(x, **options)
    attention = cls_attention(blocks[-1], x, backbone.prefix_tokens, options.get("rope"))
    context = adapter.prepare(as_guidance(attention, GRID), GRID)
    outputs, x = {}, start
    for number, block in enumerate(blocks):
        x = block(x, **options)
        if number in adapter.blocks:
            prefix, patches = x[:, : backbone.prefix_tokens], x[:, backbone.prefix_tokens :]
            x = torch.cat([prefix, adapter(number, patches, GRID, context)], dim=1)
        outputs[number] = x
    return outputs


PLACES = [(5,), (2, 3, 4, 5), (1, 2, 4, 5), (0,), (3,)]


@pytest.mark.parametrize("variant", ["v1", "v2"])
@pytest.mark.parametrize("blocks", PLACES)
@pytest.mark.parametrize("id_", VITS)
def test_shared_prefix_equals_two_passes_bit_for_bit(id_: str, blocks: tuple[int, ...], variant: str) -> None:
    taps = (1, 5)
    backbone = tiny(id_, blocks=taps, tap_norm="none").eval()
    with_daga(backbone, blocks=blocks, variant=variant)
    images = pictures()
    with torch.no_grad():
        features, outputs = backbone(images), in_two_passes(backbone, images)
        last = backbone.get_submodule("encoder.norm")(outputs[5])
    for grid, wanted in zip(features.maps, (outputs[1], last), strict=True):
        assert torch.equal(grid.flatten(2).transpose(1, 2), wanted[:, backbone.prefix_tokens :])
    assert torch.equal(features.prefix[1], last[:, : backbone.prefix_tokens])
    plain = tiny(id_, blocks=taps, tap_norm="none")(images)
    assert not torch.allclose(features.maps[1], plain.maps[1], atol=1e-3), "the adapter changes the features"


@pytest.mark.parametrize(
    ("blocks", "taps", "runs", "said"),
    [
        ((5,), "last", [1, 1, 1, 1, 1, 1], "block 5 of 6; no block runs twice"),
        ((2, 3, 4, 5), "last", [1, 1, 1, 2, 2, 1], "blocks 2-5 of 6; blocks 3, 4 run twice, once for the guidance"),
        (
            (1, 2, 4, 5),
            "last",
            [1, 1, 2, 2, 2, 1],
            "blocks 1, 2, 4, 5 of 6; blocks 2-4 run twice, once for the guidance",
        ),
        ((4,), "last", [1, 1, 1, 1, 1, 1], "block 4 of 6; no block runs twice"),
        (
            (1,),
            (1, 2),
            [1, 1, 2, 1, 1, 0],
            "block 1 of 6; block 2 runs twice, once for the guidance; blocks 3, 4 for the guidance alone",
        ),
    ],
)
@pytest.mark.parametrize("trainable", [False, True])
def test_blocks_before_the_first_layer_run_once(
    blocks: tuple[int, ...], taps: Any, runs: list[int], said: str, trainable: bool
) -> None:
    backbone = tiny("tiny-dinov3", blocks=taps, trainable="all" if trainable else ())
    with_daga(backbone, blocks=blocks)
    assert DagaAdapter(config.Daga()).describe(backbone) == f"daga v2: after {said}"
    ran: Counter[int] = Counter()
    for number in range(DEPTH):
        block = backbone.block_modules(number)[0]
        block.register_forward_hook(lambda *_, number=number: ran.update([number]))
    backbone(pictures())
    assert [ran[number] for number in range(DEPTH)] == runs


@pytest.mark.parametrize("trainable", [(), 1, "all", [{"blocks": [4]}]])
def test_guidance_is_that_of_the_model_without_adapter(trainable: Any) -> None:
    backbone = tiny("tiny-dinov3", trainable=trainable).train()
    adapter = with_daga(backbone, blocks=(1, 4))
    seen: list[Tensor] = []
    prepare = adapter.prepare

    def watched(guidance: Tensor | None, grid_hw: tuple[int, int]) -> Any:
        assert guidance is not None
        seen.append(guidance)
        return prepare(guidance, grid_hw)

    adapter.prepare = watched  # type: ignore[method-assign]
    images = pictures()
    backbone(images)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.mul_(3)
    backbone(images)
    whole = tiny("tiny-dinov3", blocks=(DEPTH - 2, DEPTH - 1), tap_norm="none")
    rotation = rope(GRID, WIDTH, 100.0, images.device)
    sequence = whole.frozen_part(images).taps[DEPTH - 2]
    attention = cls_attention(whole.block_modules(DEPTH - 1)[0], sequence, whole.prefix_tokens, rotation)
    assert len(seen) == 2, "once per pass"
    for guidance in seen:
        assert not guidance.requires_grad
        assert guidance.dtype == torch.float32
        assert torch.allclose(guidance, as_guidance(attention, GRID).detach(), atol=1e-5)


@pytest.mark.parametrize("id_", VITS)
def test_version_2_begins_exactly_as_the_identity_and_version_1_does_not(id_: str) -> None:
    images, plain = pictures(), tiny(id_, blocks="quarters").eval()
    for variant in ("v1", "v2"):
        backbone = tiny(id_, blocks="quarters").eval()
        with_daga(backbone, randomised=False, variant=variant)
        same = [torch.equal(a, b) for a, b in zip(tensors(backbone(images)), tensors(plain(images)), strict=True)]
        assert all(same) is (variant == "v2")


@pytest.mark.parametrize("variant", ["v1", "v2"])
@pytest.mark.parametrize("blocks", [(1, 2, 4, 5), (5,)])
@pytest.mark.parametrize("trainable", [False, True])
def test_gradients_arrive_in_every_parameter_and_nowhere_else(
    blocks: tuple[int, ...], trainable: bool, variant: str
) -> None:
    backbone = tiny("tiny-dinov3", trainable=1 if trainable else ()).train()
    adapter = with_daga(backbone, blocks=blocks, variant=variant)
    features = backbone(pictures())
    weights = torch.randn_like(features.maps[0])
    (features.maps[0] * weights).sum().backward()
    silent = [name for name, p in adapter.named_parameters() if p.grad is None or not p.grad.norm() > 0]
    assert silent == []
    arrived = {name.split(".")[1] for name, p in backbone.named_parameters() if p.grad is not None and p.grad.any()}
    assert arrived - {f"layers_{variant}", "encoder"} == ({"blocks", "norm"} if trainable else set())


@pytest.mark.parametrize("variant", ["v1", "v2"])
def test_in_eval_each_picture_is_alone_and_one_picture_can_be_trained_on(variant: str) -> None:
    backbone = tiny("tiny-dinov2-reg").train()
    with_daga(backbone, variant=variant)
    backbone(pictures(1)).maps[0].sum().backward()
    backbone(pictures(4))
    backbone.eval()
    images = pictures(3)
    alone = torch.cat([backbone(image[None]).maps[0] for image in images])
    assert torch.allclose(backbone(images).maps[0], alone, atol=1e-5)


@pytest.mark.parametrize("variant", ["v1", "v2"])
def test_autocast_keeps_features_close_and_guidance_exact(variant: str) -> None:
    backbone = tiny("tiny-dinov3").eval()
    with_daga(backbone, variant=variant)
    images = pictures()
    exact = backbone(images)
    with torch.autocast("cpu", torch.bfloat16):
        cut = backbone.frozen_part(images)
        rounded = backbone.trained_part(cut)
    assert cut.guidance is not None
    assert cut.guidance.dtype == torch.float32
    assert rounded.maps[0].dtype == torch.float32
    error = (rounded.maps[0] - exact.maps[0]).norm() / exact.maps[0].norm()
    assert 0 < error < 0.02


def test_modules_follow_the_backbone_and_dropout_acts_while_training_only() -> None:
    backbone = tiny("tiny-dinov3")
    adapter = with_daga(backbone, dropout=0.5)
    images = pictures()
    for mode in (True, False):
        nn.ModuleList([backbone]).train(mode)
        assert all(module.training is mode for module in adapter.modules())
        assert torch.equal(backbone(images).maps[0], backbone(images).maps[0]) is not mode


def test_what_cannot_act_is_refused_by_name() -> None:
    convnext, _ = build_backbone(config.Backbone(id="tiny-convnext", tiny=config.TinyShape(width=32)))
    with pytest.raises(SettingsError, match=r"^adapter\.kind: daga follows .* use bottleneck, lora or norm_bias$"):
        DagaAdapter(config.Daga()).attach(convnext)
    with pytest.raises(SettingsError, match=r"^adapter\.blocks: block 5 lies above the deepest tap"):
        DagaAdapter(config.Daga(blocks=(5,))).attach(tiny("tiny-dinov3", blocks=(0, 2)))
