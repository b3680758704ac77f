"""LoRA and DoRA: which layers they change, from where they start, dropout, and how they merge."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from dinotune import config
from dinotune.adapters.base import Adapter
from dinotune.adapters.lora import LoraAdapter
from dinotune.backbones.base import Backbone
from dinotune.backbones.load import build_backbone
from dinotune.backbones.variants import TINY_IDS
from dinotune.build import build_model
from dinotune.data.records import LabelSet
from dinotune.errors import DinotuneError, SettingsError
from dinotune.model import Model
from tests.adapters.kinds import learning, plain, randomise, tensors
from tests.backbones.dino_references import DEPTH, images, oracle, write_snapshot

PICTURES = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))


def attached(backbone: Backbone, **settings: Any) -> Backbone:
    torch.manual_seed(0)
    LoraAdapter(config.Lora(**settings)).attach(backbone)
    return backbone


def model_with(adapter: Any, id_: str = "tiny-dinov3", seed: int = 0) -> Model:
    """A small model whose random weights depend on the seed alone."""
    backbone = {"id": id_, "tiny": {"width": 32, "image_size": 64}}
    head = {"kind": "faster_rcnn", "channels": 16, "hidden": 32}
    experiment = config.Experiment.model_validate(
        {"seed": seed, "backbone": backbone, "adapter": adapter, "head": head}
    )
    return build_model(experiment, LabelSet(("a",), (1,)))[0].eval()


def changed_layers(backbone: Backbone) -> set[str]:
    """Linear layers that hold something that learns, as `block.layer`."""
    names = {name.partition(".lora_")[0] for name in learning(backbone)}
    return {name.removeprefix("encoder.").removeprefix("blocks.").removeprefix("stages.") for name in names}


@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize("id_", TINY_IDS)
def test_nothing_changes_at_first(id_: str, dora: bool) -> None:
    """DoRA divides by the length of each row and multiplies by it again."""
    before, after = plain(id_)(PICTURES), attached(plain(id_), dora=dora)(PICTURES)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(tensors(before), tensors(after), strict=True))


@pytest.mark.parametrize("layer", ["qkv", "proj", "fc1", "fc2"])
@pytest.mark.parametrize("id_", TINY_IDS)
def test_each_layer_alone_changes_the_features(id_: str, layer: str) -> None:
    """Attention of DINOv3 in timm takes the weight out of `qkv` where biases are not added apart."""
    if id_ == "tiny-convnext" and layer in ("qkv", "proj"):
        message = rf"^adapter.layers: tiny-convnext has no {layer}; use some of fc1, fc2, or all$"
        with pytest.raises(SettingsError, match=message):
            attached(plain(id_), layers=[layer])
        return
    backbone = attached(plain(id_), layers=[layer], blocks=[3])
    assert len(changed_layers(backbone)) == 1
    before = plain(id_)(PICTURES).maps[0]
    randomise(backbone)
    assert (backbone(PICTURES).maps[0] - before).abs().max() > 1e-3


def test_the_layers_and_blocks_named_are_the_ones_that_change() -> None:
    """Names such as `blocks.1` must not stand for `blocks.11` too."""
    deep = build_backbone(config.Backbone(id="tiny-dinov3", tiny=config.TinyShape(width=32, depth=12)))[0]
    assert changed_layers(attached(deep, layers=["qkv", "fc2"], blocks=[1, -1])) == {
        "1.attn.qkv",
        "1.mlp.fc2",
        "11.attn.qkv",
        "11.mlp.fc2",
    }
    deep = build_backbone(config.Backbone(id="tiny-dinov3", tiny=config.TinyShape(width=32, depth=12)))[0]
    assert len(changed_layers(attached(deep, blocks=10))) == 40


@pytest.mark.parametrize(("family", "fc1"), [("dinov3-gated", {"fc1_g", "fc1_x"}), ("dinov2-gated", {"fc1"})])
def test_gated_mlps(family: str, fc1: set[str], tmp_path: Path) -> None:
    backbone, _ = build_backbone(config.Backbone(id=str(write_snapshot(oracle(family), tmp_path))))
    before = backbone(images(family)).maps[0]
    attached(backbone, layers=["fc1"], blocks=1)
    assert changed_layers(backbone) == {f"{DEPTH - 1}.mlp.{name}" for name in fc1}
    randomise(backbone)
    assert not torch.allclose(backbone(images(family)).maps[0], before)


def test_unknown_layers_are_named_with_those_that_exist() -> None:
    with pytest.raises(ValueError, match=r"layers[\s\S]*'qkv', 'proj', 'fc1' or 'fc2'"):
        config.Lora(layers=("query",))  # type: ignore[arg-type]


@pytest.mark.parametrize("dora", [False, True])
def test_dropout_acts_in_training_only(dora: bool) -> None:
    backbone = attached(plain("tiny-dinov2"), dropout=0.5, dora=dora)
    randomise(backbone)
    still = backbone.eval()(PICTURES).maps[0]
    assert torch.equal(backbone(PICTURES).maps[0], still)
    backbone.train()
    assert not torch.allclose(backbone(PICTURES).maps[0], backbone(PICTURES).maps[0])
    modes = {name.rpartition(".")[2]: module.training for name, module in backbone.named_modules()}
    assert modes["lora_dropout"]
    assert not modes["attn_drop"]


@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize("id_", TINY_IDS)
def test_merging_leaves_the_features_and_plain_linear_layers(id_: str, dora: bool) -> None:
    model = model_with({"kind": "lora", "dora": dora}, id_)
    randomise(model.backbone)
    before = model(PICTURES)
    model.merge_adapter()
    without = model_with("frozen", id_)
    assert model.state_dict().keys() == without.state_dict().keys()
    after = model(PICTURES)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(tensors(before), tensors(after), strict=True))
    assert not torch.allclose(after.maps[0], without(PICTURES).maps[0], atol=1e-3)
    assert not learning(model.backbone)
    assert {type(module) for module in model.modules() if type(module).__name__ == "Linear"} == {nn.Linear}
    model.merge_adapter()
    assert torch.equal(model(PICTURES).maps[0], after.maps[0])


def test_what_is_no_change_of_weights_does_not_merge() -> None:
    class Other(Adapter):
        def attach(self, backbone: Backbone) -> None:
            """Nothing."""

    with pytest.raises(DinotuneError, match="Other cannot be folded into the backbone"):
        Other().merge(plain("tiny-dinov2"))


def test_norms_and_biases_merge_as_they_are() -> None:
    model = model_with("norm_bias")
    randomise(model.backbone)
    before = model(PICTURES).maps[0]
    model.merge_adapter()
    assert torch.equal(model(PICTURES).maps[0], before)
    assert not learning(model.backbone)


def test_the_weights_of_the_head_do_not_depend_on_the_adapter() -> None:
    first, second = (model_with(kind).head.state_dict() for kind in ("frozen", "lora"))
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_the_adapter_is_drawn_from_the_seed() -> None:
    drawn = [
        dict(model_with("lora", seed=seed).backbone.adapter_parameters())[
            "encoder.blocks.0.attn.qkv.lora_A.default.weight"
        ]
        for seed in (0, 0, 1)
    ]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
