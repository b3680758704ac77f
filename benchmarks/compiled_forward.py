"""Backbones as they are, compiled, and with channels last.

Run `uv run python -m benchmarks.compiled_forward`, where a C++ compiler is at hand; the result goes to `benchmarks/results/`.
"""

import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.side_by_side import Timer, in_turn, machine, publish, ratio, table, timed
from dinotune import config
from dinotune.backbones.load import build_backbone

SIDE, ROUNDS = 448, {1: 20, 8: 6}
BACKBONES: dict[str, dict[str, Any]] = {
    "ViT, 12 blocks, width 384": {"id": "tiny-dinov3", "tiny": {"width": 384, "depth": 12}},
    "ConvNeXt, width 96": {"id": "tiny-convnext", "tiny": {"width": 96}},
}


class Maps(nn.Module):
    """The last map of a backbone, on its own."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__()
        self.backbone = build_backbone(config.Backbone(**settings))[0]

    def forward(self, images: Tensor) -> Tensor:
        """[batch, channels, rows, columns]."""
        found: Tensor = self.backbone(images).maps[-1]
        return found


def forward(model: nn.Module, images: Tensor, layout: torch.memory_format = torch.contiguous_format) -> Timer:
    """A pass over images that are brought into a layout first."""
    return timed(lambda: model(images.contiguous(memory_format=layout)))


def rows() -> Iterator[list[str]]:
    """A line for each backbone and batch."""
    for name, settings in BACKBONES.items():
        plain = Maps(settings).eval()
        last = Maps(settings).eval().to(memory_format=torch.channels_last)
        last.load_state_dict(plain.state_dict())
        compiled = torch.compile(plain)
        for batch, rounds in ROUNDS.items():
            images = torch.rand(batch, 3, SIDE, SIDE)
            with torch.inference_mode():
                began = time.perf_counter()
                found = compiled(images)
                compiling = time.perf_counter() - began
                apart = (found - plain(images)).abs().max().item()
                ways = {
                    "plain": forward(plain, images),
                    "compiled": forward(compiled, images),
                    "last": forward(last, images, torch.channels_last),
                }
                times = in_turn(ways, rounds)
            shares = [f"{ratio(times, way, 'plain'):.2f}" for way in ("compiled", "last")]
            yield [name, str(batch), *shares, f"{compiling / min(times['plain']):.0f}", f"{apart:.1g}"]


def main() -> None:
    """Measure and write the table."""
    torch.set_num_threads(1)
    publish(
        "compiled_forward",
        "# torch.compile and channels last",
        f"{machine('torch')}, one thread; random weights, pictures of {SIDE} px, float32. Processor time of a forward pass as a share of "
        f"that of the backbone as it is, in turn, median of {ROUNDS[1]} rounds (batch 1) and {ROUNDS[8]} (batch 8). The first compiled pass holds the compiling, by the clock, as far as the compiler's cache on the disk does not spare it.",
        table(
            [
                "backbone",
                "batch",
                "compiled",
                "channels last",
                "first compiled pass, in passes",
                "largest difference of a feature",
            ],
            rows(),
        ),
    )


if __name__ == "__main__":
    main()
