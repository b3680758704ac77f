"""Norms and biases: which parameters of which blocks learn."""

from typing import Any

import pytest

from dinotune import config
from dinotune.adapters.norm_bias import NormBiasAdapter
from tests.adapters.kinds import learning, plain

NORM = {f"norm{number}.{part}" for number in (1, 2) for part in ("weight", "bias")}
MLP = {"mlp.fc1.bias", "mlp.fc2.bias"}
BIAS = {"norm1.bias", "norm2.bias", "attn.proj.bias", *MLP}
CONVNEXT = {"blocks.0.norm.bias", "blocks.0.conv_dw.bias", "blocks.0.mlp.fc1.bias", "blocks.0.mlp.fc2.bias"}
STAGE_NORMS = {f"{place}.{part}" for place in ("downsample.0", "blocks.0.norm") for part in ("weight", "bias")}
STAGE_BIASES = {"downsample.0.bias", "downsample.1.bias", *CONVNEXT}

LEARN: dict[tuple[str, str], set[str]] = {
    ("tiny-dinov2", "norm"): NORM,
    ("tiny-dinov2", "bias"): {"attn.qkv.bias", *BIAS},
    ("tiny-dinov2", "both"): {"attn.qkv.bias", *BIAS, *NORM},
    ("tiny-dinov3", "norm"): NORM,
    ("tiny-dinov3", "bias"): {"attn.q_bias", "attn.v_bias", *BIAS},
    ("tiny-dinov3", "both"): {"attn.q_bias", "attn.v_bias", *BIAS, *NORM},
    ("tiny-convnext", "norm"): STAGE_NORMS,
    ("tiny-convnext", "bias"): STAGE_BIASES,
    ("tiny-convnext", "both"): STAGE_NORMS | STAGE_BIASES,
}


@pytest.mark.parametrize(("id_", "parameters"), LEARN)
@pytest.mark.parametrize("blocks", [[1, 2], "all", 1])
def test_exactly_these_learn(id_: str, parameters: Any, blocks: Any) -> None:
    backbone = plain(id_)
    NormBiasAdapter(config.NormBias(parameters=parameters, blocks=blocks)).attach(backbone)
    place = "encoder.stages" if id_ == "tiny-convnext" else "encoder.blocks"
    numbers: list[int] = {"all": [0, 1, 2, 3], 1: [3]}.get(blocks, blocks) if not isinstance(blocks, list) else blocks
    wanted = {f"{place}.{number}.{name}" for number in numbers for name in LEARN[id_, parameters]}
    absent = {name for name in wanted if name.startswith("encoder.stages.0.downsample")}  # the first stage has none
    assert learning(backbone) == wanted - absent
