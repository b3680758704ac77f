"""load_backbone: the way in for use without a head."""

from typing import Any

import pytest
import torch

from dinotune.backbones import load_backbone
from dinotune.errors import SettingsError


def test_features_and_one_line_on_what_was_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    backbone = load_backbone("tiny-dinov3", seed=3, blocks=[1, -1], tiny={"width": 32})
    assert [grid.shape for grid in backbone(torch.rand(1, 3, 32, 48)).maps] == [(1, 32, 2, 3)] * 2
    assert "backbone tiny-dinov3: random weights, seed 3" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"blcks": [1]}, 'backbone.blcks: unknown key; did you mean "blocks"?'),
        ({"tap_norm": "final"}, 'backbone.tap_norm: "final" is wrong; give final_norm, batch_norm or none'),
        ({"blocks": {1}, "tiny": {"wdth": 3}}, 'backbone.tiny.wdth: unknown key; did you mean "width"?'),
        ({"blocks": torch.ones(1)}, "backbone.blocks: tensor([1.]) is wrong; give last or quarters or non-empty list"),
    ],
)
def test_wrong_settings_are_said_as_in_a_file(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_backbone("tiny-dinov3", **settings)
    assert message in str(caught.value)
