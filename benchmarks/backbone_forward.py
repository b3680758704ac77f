"""Forward pass of our vision transformers beside transformers', with the same weights.

Run `uv run python -m benchmarks.backbone_forward`; the result goes to `benchmarks/results/`.
"""

import tempfile
from collections.abc import Iterator
from typing import Any

import torch
import transformers
from torch import Tensor

from benchmarks.side_by_side import in_turn, machine, publish, ratio, table, timed
from dinotune import config
from dinotune.backbones.base import Backbone
from dinotune.backbones.load import build_backbone

SIDE, ROUNDS = 448, {1: 20, 8: 6}
SMALL: dict[str, Any] = {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6}


def models() -> Iterator[tuple[str, Any]]:
    """Both families in the size of ViT-S, with random weights."""
    torch.manual_seed(0)
    dinov2 = transformers.Dinov2WithRegistersConfig(**SMALL, patch_size=14, image_size=518)
    dinov3 = transformers.DINOv3ViTConfig(**SMALL, patch_size=16, intermediate_size=1536, num_register_tokens=4)
    yield "DINOv2 with registers, ViT-S/14", transformers.Dinov2WithRegistersModel(dinov2)
    yield "DINOv3, ViT-S/16", transformers.DINOv3ViTModel(dinov3)


def ours_of(model: Any) -> Backbone:
    """Our backbone with the weights of transformers' model, by way of a snapshot."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return build_backbone(config.Backbone(id=folder))[0]


def row(name: str, model: Any, batch: int) -> list[str]:
    """One line of the table."""
    backbone, images = ours_of(model.eval()), torch.rand(batch, 3, SIDE, SIDE)
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (backbone.mean, backbone.std))

    def ours() -> Tensor:
        features = backbone(images)
        return torch.cat([features.prefix[0], features.maps[0].flatten(2).transpose(1, 2)], dim=1)

    def theirs() -> Tensor:
        tokens: Tensor = model((images - mean) / std).last_hidden_state
        return tokens

    with torch.inference_mode():
        apart = (ours() - theirs()).abs().max().item()
        times = in_turn({"ours": timed(ours), "theirs": timed(theirs)}, ROUNDS[batch])
    return [name, str(batch), f"{apart:.1g}", f"{ratio(times, 'ours', 'theirs'):.2f}"]


def main() -> None:
    """Measure both families and write the table."""
    torch.set_num_threads(1)
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    rows = [row(name, model, batch) for name, model in models() for batch in ROUNDS]
    publish(
        "backbone_forward",
        "# Forward pass of the backbones beside transformers'",
        f"{machine('torch', 'transformers', 'timm')}, one thread; random weights, pictures of {SIDE} px, normalising included. "
        "The ratio is dinotune's processor time as a share of transformers', in turn, median of "
        f"{ROUNDS[1]} rounds (batch 1) and {ROUNDS[8]} (batch 8): below 1 dinotune is faster.",
        table(["model", "batch", "largest difference of a feature", "ratio"], rows),
    )


if __name__ == "__main__":
    main()
