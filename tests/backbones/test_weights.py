"""Every source and layout of weights gives the same features, and anything that does not fit stops with names."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from dinotune import config
from dinotune.backbones.load import build_backbone
from dinotune.backbones.sources import is_path_like, locate
from dinotune.backbones.variants import SATELLITE_MEAN
from dinotune.errors import WeightsError
from tests.backbones.dino_references import (
    FAMILIES,
    VITS,
    images,
    load,
    meta_state,
    oracle,
    write_snapshot,
    write_timm_snapshot,
)


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DINOTUNE_WEIGHTS", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("dinotune.backbones.hub.refusal", lambda *_: "no hub in this test")


def features(path: Path | str, family: str) -> tuple[Tensor, Tensor]:
    result = load(path)(images(family))
    return result.maps[0], result.cls


def rewrite(folder: Path, change: dict[str, str]) -> None:
    """Rename tensors of a snapshot."""
    state = load_file(folder / "model.safetensors")
    save_file({change.get(name, name): tensor for name, tensor in state.items()}, folder / "model.safetensors")


@pytest.mark.parametrize("family", FAMILIES)
def test_all_layouts_give_the_same_features(family: str, tmp_path: Path) -> None:
    model = oracle(family)
    theirs = write_snapshot(model, tmp_path / "transformers")
    torch.save(meta_state(model, family), tmp_path / "weights.pth")
    timm_folder = write_timm_snapshot(model, family, tmp_path / "timm")
    new_names = {f"{name}": tensor.contiguous() for name, tensor in model.state_dict().items()}
    (tmp_path / "new").mkdir()
    save_file(new_names, tmp_path / "new" / "model.safetensors")
    (tmp_path / "new" / "config.json").write_text((theirs / "config.json").read_text())
    wanted = features(theirs, family)
    files = [tmp_path / "weights.pth", timm_folder, timm_folder / "model.safetensors", tmp_path / "new"]
    for path in files:
        for ours, other in zip(features(path, family), wanted, strict=True):
            assert torch.equal(ours, other) or torch.allclose(ours, other, atol=1e-5), path
    other_weights = write_snapshot(oracle(family, seed=1), tmp_path / "other")
    assert not torch.allclose(features(other_weights, family)[0], wanted[0], atol=0.1)


def test_timms_plain_dinov3_has_no_biases(tmp_path: Path) -> None:
    model = oracle("dinov3")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("q_proj.bias", "v_proj.bias")):
                parameter.zero_()
    wanted = features(write_snapshot(model, tmp_path / "transformers"), "dinov3")
    folder = write_timm_snapshot(model, "dinov3", tmp_path / "plain")
    state = {name: t for name, t in load_file(folder / "model.safetensors").items() if not name.endswith("_bias")}
    save_file(state, folder / "model.safetensors")
    settings = (folder / "config.json").read_text().replace("_dinov3_qkvb", "_dinov3")
    (folder / "config.json").write_text(settings)
    assert torch.allclose(features(folder, "dinov3")[0], wanted[0], atol=1e-5)


def split_in_shards(folder: Path) -> list[str]:
    """Two files and their index instead of one file; returns their names."""
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(state)
    shards = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, part in shards.items():
        save_file({name: state[name] for name in part}, folder / file)
    index = {"weight_map": {name: file for file, part in shards.items() for name in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return list(shards)


def test_shards_are_read_by_their_index(tmp_path: Path) -> None:
    folder = write_snapshot(oracle("dinov3"), tmp_path / "snapshot")
    whole = features(folder, "dinov3")[0]
    shards = split_in_shards(folder)
    backbone, report = build_backbone(config.Backbone(id=str(folder)))
    assert torch.equal(backbone(images("dinov3")).maps[0], whole)
    hashes = sorted(hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in shards)
    assert report.sha256 == hashlib.sha256("".join(hashes).encode()).hexdigest()
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"lists model-00002-of-00002.safetensors, which is not there"):
        load(folder)


def test_half_precision_files_become_fp32(tmp_path: Path) -> None:
    folder = write_snapshot(oracle("dinov2-reg").to(torch.bfloat16), tmp_path)
    assert {parameter.dtype for parameter in load(folder).parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("family", "right", "wrong", "named"),
    [
        ("dinov2", "encoder.layer.1.norm1.weight", "encoder.layer.1.norm1.weigth", "blocks.1.norm1.weight"),
        ("dinov2", "embeddings.position_embeddings", "embeddings.positions", "pos_embed"),
        ("dinov2-reg", "encoder.layer.0.attention.attention.key.bias", "k.bias", "blocks.0.attn.qkv.bias"),
        ("dinov3", "layer.2.attention.q_proj.bias", "layer.2.attention.q_proj.bais", "blocks.2.attn.q_bias"),
        ("dinov3", "embeddings.register_tokens", "embeddings.registers", "reg_token"),
        ("convnext", "stages.1.layers.1.gamma", "stages.1.layers.1.gama", "stages.1.blocks.1.gamma"),
    ],
)
def test_a_corrupted_name_stops_with_both_names(
    family: str, right: str, wrong: str, named: str, tmp_path: Path
) -> None:
    folder = write_snapshot(oracle(family), tmp_path)
    rewrite(folder, {right: wrong})
    with pytest.raises(WeightsError) as caught:
        load(folder)
    assert str(folder) in str(caught.value)
    assert f"missing: {named}" in str(caught.value)
    assert wrong in str(caught.value).split("unexpected:")[1]


def test_a_missing_block_stops_although_the_rest_fits(tmp_path: Path) -> None:
    folder = write_snapshot(oracle("dinov3"), tmp_path)
    state = load_file(folder / "model.safetensors")
    save_file({k: v for k, v in state.items() if not k.startswith("layer.2.")}, folder / "model.safetensors")
    with pytest.raises(WeightsError, match=r"missing: blocks\.2\..* and \d+ more"):
        load(folder)


def test_another_size_is_named(tmp_path: Path) -> None:
    folder = write_snapshot(oracle("dinov3"), tmp_path)
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text.replace('"intermediate_size": 96', '"intermediate_size": 160'))
    with pytest.raises(WeightsError, match=r"up_proj\.weight \[96, 128\] instead of \[160, 128\]"):
        load(folder)


def test_what_was_loaded_is_told(tmp_path: Path) -> None:
    folder = write_snapshot(oracle("dinov2-reg"), tmp_path)
    backbone, report = build_backbone(config.Backbone(id=str(folder)))
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    parameters = sum(parameter.numel() for parameter in backbone.parameters())
    assert backbone.identity.sha256 == report.sha256 == digest
    line = report.describe()
    for part in (
        str(folder / "model.safetensors"),
        digest[:12],
        f"{parameters:,} parameters loaded, none missing",
        "mean (0.485, 0.456, 0.406), std (0.229, 0.224, 0.225) from ImageNet, as no preprocessor_config.json",
        "not used: embeddings.mask_token",
    ):
        assert part in line
    assert "DINOv3" not in line
    assert "DINOv3 License" in build_backbone(config.Backbone(id=str(_dinov3(tmp_path))))[1].describe()


def _dinov3(folder: Path) -> Path:
    return write_snapshot(oracle("dinov3"), folder / "dinov3")


def test_statistics_of_the_checkpoint_are_used(tmp_path: Path) -> None:
    folder = write_snapshot(oracle("dinov3"), tmp_path)
    plain = load(folder)
    statistics = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.6, 0.7]}
    (folder / "preprocessor_config.json").write_text(json.dumps(statistics))
    backbone, report = build_backbone(config.Backbone(id=str(folder)))
    assert (backbone.mean, backbone.std) == ((0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    assert "from preprocessor_config.json" in report.describe()
    pictures = images("dinov3")
    std, mean = (torch.tensor(statistics[key]).view(3, 1, 1) for key in ("image_std", "image_mean"))
    plain_std, plain_mean = torch.tensor(plain.std).view(3, 1, 1), torch.tensor(plain.mean).view(3, 1, 1)
    same_pixels = (pictures - mean) / std * plain_std + plain_mean
    assert torch.allclose(backbone(pictures).maps[0], plain(same_pixels).maps[0], atol=1e-4)
    assert not torch.allclose(backbone(pictures).maps[0], plain(pictures).maps[0], atol=1e-2)
    (folder / "preprocessor_config.json").write_text('{"image_mean": [0.1, 0.2]}')
    with pytest.raises(WeightsError, match="mean and std must be three numbers each"):
        load(folder)


def test_satellite_files_bring_satellite_statistics(tmp_path: Path) -> None:
    folder = write_snapshot(oracle("dinov3"), tmp_path / "my-sat493m")
    backbone, report = build_backbone(config.Backbone(id=str(folder)))
    assert backbone.mean == SATELLITE_MEAN
    assert "from satellite, by the name" in report.describe()


def test_dinotune_weights_comes_before_hub_and_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    root = tmp_path / "store"
    nested = write_snapshot(oracle("dinov3"), root / "facebook" / "dinov3-vits16-pretrain-lvd1689m")
    flat = write_snapshot(oracle("dinov2"), root / "timm--vit_small_patch14_dinov2.lvd142m")
    pth = root / "dinov2_vitb14_pretrain.pth"
    torch.save(meta_state(oracle("dinov2"), "dinov2"), pth)
    monkeypatch.setenv("DINOTUNE_WEIGHTS", str(root))
    for id_, path in [
        ("facebook/dinov3-vits16-pretrain-lvd1689m", nested),
        ("timm/vit_small_patch14_dinov2.lvd142m", flat),
        ("facebook/dinov2-base", pth),
    ]:
        assert locate(id_).path == path
        assert locate(id_).found == "DINOTUNE_WEIGHTS"
    assert load("facebook/dinov3-vits16-pretrain-lvd1689m").identity.id == "facebook/dinov3-vits16-pretrain-lvd1689m"
    with pytest.raises(WeightsError, match="cannot get facebook/dinov2-large"):
        locate("facebook/dinov2-large")
    monkeypatch.setenv("DINOTUNE_WEIGHTS", str(root / "absent"))
    with pytest.raises(WeightsError, match="absent is no folder"):
        locate("facebook/dinov2-base")


def cached(tmp_path: Path) -> Path:
    snapshot = tmp_path / "hub" / "models--facebook--dinov2-small" / "snapshots" / "abc"
    (snapshot.parents[1] / "refs").mkdir(parents=True)
    (snapshot.parents[1] / "refs" / "main").write_text("abc")
    return write_snapshot(oracle("dinov2"), snapshot)


@pytest.mark.parametrize("lost", [0, 1])
def test_an_interrupted_download_of_shards_is_taken_up_again(tmp_path: Path, lost: int) -> None:
    snapshot = cached(tmp_path)
    shards = split_in_shards(snapshot)
    assert locate("facebook/dinov2-small").found == "hub cache"
    (snapshot / shards[lost]).unlink()
    with pytest.raises(WeightsError, match=r"cannot get facebook/dinov2-small: no hub in this test"):
        locate("facebook/dinov2-small")


def test_the_hub_cache_is_used_offline(tmp_path: Path) -> None:
    snapshot = cached(tmp_path)
    assert locate("facebook/dinov2-small").found == "hub cache"
    backbone, report = build_backbone(config.Backbone(id="facebook/dinov2-small"))
    assert backbone.width == 128
    assert "(hub cache)" in report.describe()
    (snapshot / "model.safetensors").unlink()  # an interrupted download
    with pytest.raises(WeightsError, match="cannot get facebook/dinov2-small"):
        locate("facebook/dinov2-small")


@pytest.mark.parametrize(
    ("id_", "message"),
    [
        ("./snap", "./snap does not exist"),
        ("/absent/folder/snap", "/absent/folder/snap does not exist; / is there"),
        ("dinov3.pth", "dinov3.pth does not exist"),
        ("weights/my/model.safetensors", "does not exist"),
        ("dinov2-smal", 'did you mean "facebook/dinov2-small"'),
        ("facebook/dinov2--small", '"facebook/dinov2--small" is neither a hub id'),
        ("foo/bar.git", '"foo/bar.git" is neither a hub id'),
        ("x/-y", '"x/-y" is neither a hub id'),
        ("nonsense", 'use an id such as "facebook/dinov2-with-registers-small"'),
    ],
)
def test_what_is_not_there_is_named(id_: str, message: str) -> None:
    with pytest.raises(WeightsError) as caught:
        locate(id_)
    assert message in str(caught.value)


def test_a_near_name_is_offered(tmp_path: Path) -> None:
    (tmp_path / "snapshot").mkdir()
    with pytest.raises(WeightsError, match=f'did you mean "{tmp_path}/snapshot"'):
        locate(str(tmp_path / "snapshto"))


def test_hub_ids_are_no_paths() -> None:
    assert not is_path_like("facebook/dinov2-small")
    assert not is_path_like("timm/vit_small_patch16_dinov3.lvd1689m")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model_type": "vit"}, "model_type 'vit' is no DINO backbone; known are dinov2"),
        ({"architecture": "resnet50"}, 'architecture "resnet50" is no DINO backbone'),
        ({"model_type": "dinov3_vit"}, "lacks 'hidden_size'"),
        ({"model_type": "dinov3_vit", "use_gated_mlp": True, "hidden_act": "gelu"}, "it must be 'silu'"),
    ],
)
def test_other_models_are_refused(content: dict[str, object], message: str, tmp_path: Path) -> None:
    folder = write_snapshot(oracle("dinov3"), tmp_path)
    (folder / "config.json").write_text(json.dumps(content))
    with pytest.raises(WeightsError, match=message):
        load(folder)


@pytest.mark.parametrize(("tag", "name", "taken"), [
    ("dinov3_lvd1689m", "plain", True), ("in12k_ft_in1k", "plain", False), ("", "plain", False), ("", "dinov3", True),
])  # fmt: skip
def test_a_convnext_must_say_that_it_is_dinov3s(tag: str, name: str, taken: bool, tmp_path: Path) -> None:
    folder = write_timm_snapshot(oracle("convnext"), "convnext", tmp_path / name)
    content = json.loads((folder / "config.json").read_text())
    content["pretrained_cfg"]["tag"] = tag
    (folder / "config.json").write_text(json.dumps(content))
    if taken:
        assert load(folder).width == 64
    else:
        with pytest.raises(WeightsError, match=r"convnext_tiny .* is not DINOv3's.* use timm/convnext_tiny.dinov3_lvd"):
            load(folder)


def test_files_that_are_no_weights_are_refused(tmp_path: Path) -> None:
    write_snapshot(oracle("dinov3"), tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"<html>not found</html>")
    with pytest.raises(WeightsError, match=r"model.safetensors: cannot be read"):
        load(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"has no model.safetensors"):
        load(tmp_path)
    (tmp_path / "broken.pth").write_bytes(b"half a file")
    with pytest.raises(WeightsError, match=r"broken.pth: cannot be read"):
        load(tmp_path / "broken.pth")
    torch.save({"cls_token": torch.zeros(1, 1, 8)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="these are no weights of a DINO backbone"):
        load(tmp_path / "other.pth")


def test_nothing_is_unpickled_freely(tmp_path: Path) -> None:
    torch.save({"cls_token": torch.zeros(1), "evil": _Evil(tmp_path / "ran")}, tmp_path / "evil.pth")
    with pytest.raises(WeightsError, match=r"evil.pth: cannot be read"):
        load(tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()


class _Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("family", VITS)
def test_loaded_weights_share_no_memory(family: str, tmp_path: Path) -> None:
    """Views of one tensor could not be saved as safetensors."""
    torch.save(meta_state(oracle(family), family), tmp_path / "weights.pth")
    save_file(load(tmp_path / "weights.pth").state_dict(), tmp_path / "copy.safetensors")
    assert (tmp_path / "copy.safetensors").stat().st_size > 0


def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path: Path) -> None:
    torch.save(meta_state(oracle("dinov2"), "dinov2"), tmp_path / "dinov2_vits14_pretrain.pth")
    with pytest.raises(WeightsError, match=r"the name means facebook/dinov2-small .* but the tensors have \(128, 3\)"):
        load(tmp_path / "dinov2_vits14_pretrain.pth")
