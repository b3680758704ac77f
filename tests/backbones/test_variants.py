"""The table of variants against timm's own models, built without memory."""

import subprocess
import sys
from typing import Any

import pytest
import timm

from dinotune.backbones.shapes import VitShape, build_encoder, shape_of
from dinotune.backbones.variants import VARIANTS, Variant, find_architecture, find_variant


def not_in_timm(variant: Variant) -> int:
    """Parameters that Meta counts and timm leaves out."""
    if variant.family == "convnext":
        return 0
    mask_token = variant.width
    if variant.family == "dinov2":
        folded_cls_position = variant.width if variant.registers else 0
        return mask_token + folded_cls_position
    if "vit7b" in variant.id:
        local_cls_norm = 2 * variant.width  # and no biases in its attention
        return mask_token + local_cls_norm
    key_biases = variant.depth * variant.width
    return mask_token + key_biases


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.id)
def test_facts_equal_those_of_the_built_model(variant: Variant) -> None:
    biased = variant.family == "dinov3" and "vit7b" not in variant.id
    options: dict[str, Any] = {"img_size": 518} if variant.family == "dinov2" else {}
    name = variant.architecture + ("_qkvb" if biased else "")
    theirs: Any = timm.create_model(name, pretrained=False, num_classes=0, device="meta", **options)
    ours = build_encoder(shape_of(variant))
    wanted = {name: tensor.shape for name, tensor in theirs.state_dict().items()}
    assert {name: tensor.shape for name, tensor in ours.state_dict().items()} == wanted
    assert sum(parameter.numel() for parameter in theirs.parameters()) + not_in_timm(variant) == variant.parameters
    assert theirs.num_features == variant.width
    if variant.family != "convnext":
        assert len(theirs.blocks) == variant.depth
        assert theirs.num_prefix_tokens == 1 + variant.registers
        assert variant.width // variant.heads == theirs.blocks[0].attn.head_dim
        shape = shape_of(variant)
        assert isinstance(shape, VitShape)
        assert theirs.norm.eps == shape.norm_eps


def test_ids_are_unique_and_there_are_twenty() -> None:
    assert len(VARIANTS) == 20
    for ids in ([v.id for v in VARIANTS], [v.timm_id for v in VARIANTS], [v.pth_pattern for v in VARIANTS]):
        assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    ("name", "id_"),
    [
        ("facebook/dinov2-giant", "facebook/dinov2-giant"),
        ("timm/vit_small_patch14_reg4_dinov2.lvd142m", "facebook/dinov2-with-registers-small"),
        ("timm/vit_large_patch16_dinov3_qkvb.sat493m", "facebook/dinov3-vitl16-pretrain-sat493m"),
        ("dinov2_vits14_pretrain.pth", "facebook/dinov2-small"),
        ("dinov2_vits14_reg4_pretrain.pth", "facebook/dinov2-with-registers-small"),
        ("dinov3_vits16_pretrain_lvd1689m-08c60483.pth", "facebook/dinov3-vits16-pretrain-lvd1689m"),
        ("dinov3_convnext_tiny_pretrain_lvd1689m-21b726bb.pth", "facebook/dinov3-convnext-tiny-pretrain-lvd1689m"),
        ("facebook/dinov3-vits16", None),
    ],
)
def test_names_mean_variants(name: str, id_: str | None) -> None:
    variant = find_variant(name)
    assert (variant.id if variant else None) == id_


def test_timm_knows_every_id() -> None:
    known = set(timm.list_pretrained())
    assert {variant.timm_id.removeprefix("timm/") for variant in VARIANTS} <= known
    assert find_architecture("vit_base_patch16_224.augreg") is None


def test_licences() -> None:
    assert {v.licence for v in VARIANTS if not v.gated} == {"Apache-2.0"}
    assert {v.licence for v in VARIANTS if v.gated} == {"DINOv3 License"}


def test_table_and_rows_load_no_torch() -> None:
    code = "import sys, dinotune.backbones.catalog as c; c.backbone_rows((640, 640)); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
