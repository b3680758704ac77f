"""How long a deformable detector takes for a picture: beside its bare backbone, transformers' decoder, and RF-DETR.

Run `uv run python -m benchmarks.detector_latency [PYTHON]`; PYTHON is that of an environment with `rfdetr` (for example
`uv venv /tmp/rf && VIRTUAL_ENV=/tmp/rf uv pip install rfdetr`). The result goes to `benchmarks/results/`.
"""

import sys
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from benchmarks.side_by_side import Peer, PeerError, in_turn, machine, publish, ratio, table, timed
from dinotune import config
from dinotune.build import build_model
from dinotune.data.records import LabelSet
from dinotune.heads.deformable_detr import DeformableDetrHead
from dinotune.model import Model

CLASSES, ROUNDS = 80, {1: 8, 8: 3}
DETECTOR = config.DeformableDetr()
NANO = config.DeformableDetr(stride_factors=(1,), encoder_layers=0, decoder_layers=2, sampling_points=2)
"""As RF-DETR Nano: one level, two decoder layers, 300 queries, two points."""
SIDE, NANO_SIDE = 448, 384


class Pyramid(nn.Module):
    """Our backbone and pyramid in the place of transformers' backbone, so that both decoders read the same cells."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        assert isinstance(model.head, DeformableDetrHead)
        self.backbone, self.pyramid = model.backbone, model.head.pyramid

    def forward(self, images: Tensor, mask: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Each level with a mask that hides nothing."""
        levels = self.pyramid(self.backbone(images))
        return [(level, mask.new_ones((len(level), *level.shape[2:]), dtype=torch.bool)) for level in levels]


def detector(head: config.DeformableDetr) -> Model:
    """The head on a random DINOv3 of the size of ViT-S."""
    experiment = config.Experiment.model_validate(
        {
            "backbone": {"id": "tiny-dinov3", "blocks": "quarters", "tiny": {"width": 384, "depth": 12}},
            "head": head.model_dump(),
            "data": "unread",
        }
    )
    labels = LabelSet(tuple(map(str, range(CLASSES))), tuple(range(CLASSES)))
    return build_model(experiment, labels)[0].eval()


def with_their_decoder(model: Model, head: config.DeformableDetr) -> Any:
    """Transformers' Deformable DETR with proposals and box refinement, as wide and deep as ours, on our pyramid."""
    settings = transformers.DeformableDetrConfig(
        d_model=head.channels,
        encoder_layers=head.encoder_layers,
        decoder_layers=head.decoder_layers,
        encoder_attention_heads=head.attention_heads,
        decoder_attention_heads=head.attention_heads,
        encoder_ffn_dim=head.feedforward,
        decoder_ffn_dim=head.feedforward,
        encoder_n_points=head.sampling_points,
        decoder_n_points=head.sampling_points,
        num_feature_levels=len(head.stride_factors),
        two_stage_num_proposals=head.queries,
        two_stage=True,
        with_box_refine=True,
        id2label=dict(enumerate(map(str, range(CLASSES)))),
    )
    theirs: Any = transformers.DeformableDetrForObjectDetection(settings)
    theirs.model.backbone = Pyramid(model)
    theirs.model.input_proj = nn.ModuleList(nn.Identity() for _ in head.stride_factors)
    return theirs.eval()


def beside_transformers(batch: int) -> list[str]:
    """A line of the first table."""
    model, images = detector(DETECTOR), torch.rand(batch, 3, SIDE, SIDE)
    theirs = with_their_decoder(model, DETECTOR)
    with torch.inference_mode():
        timers = {
            "ours": timed(lambda: model.predict(images)),
            "bare": timed(lambda: model.backbone(images)),
            "theirs": timed(lambda: theirs(images)),
        }
        times = in_turn(timers, ROUNDS[batch])
    return [str(batch), f"{ratio(times, 'ours', 'bare'):.2f}", f"{ratio(times, 'ours', 'theirs'):.2f}"]


def beside_rfdetr(python: str | None, batch: int) -> tuple[list[str], str]:
    """A line of the second table, and the versions of what was measured."""
    try:
        peer = Peer(python, "rfdetr_predict.py", batch)
    except PeerError as error:
        return [str(batch), f"not measured: {error}"], "no rfdetr"
    model, images = detector(NANO), torch.rand(batch, 3, NANO_SIDE, NANO_SIDE)
    with torch.inference_mode():
        times = in_turn({"ours": timed(lambda: model.predict(images)), "theirs": peer}, ROUNDS[batch])
    peer.close()
    return [str(batch), f"{ratio(times, 'ours', 'theirs'):.2f}"], peer.versions


def main(python: str | None = None) -> None:
    """Measure and write both tables."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    beside = [beside_transformers(batch) for batch in ROUNDS]
    nano = [beside_rfdetr(python, batch) for batch in ROUNDS]
    publish(
        "detector_latency",
        "# How long a deformable detector takes for a picture",
        f"{machine('torch', 'transformers', 'timm')}; {nano[0][1]} in an environment of its own. One thread, random weights, "
        f"{CLASSES} classes. All figures are dinotune's processor time as a share of the other's, in turn, median of "
        f"{ROUNDS[1]} rounds (batch 1) and {ROUNDS[8]} (batch 8): below 1 dinotune is faster.",
        f"`deformable_detr` as shipped ({DETECTOR.encoder_layers} encoder and {DETECTOR.decoder_layers} decoder layers, "
        f"{DETECTOR.queries} queries, four levels) on a DINOv3 of the size of ViT-S, {SIDE} px, best detections picked; "
        "beside the backbone alone, and beside the same backbone and pyramid with transformers' Deformable DETR of the same size.",
        table(["batch", "share of the bare backbone", "share of transformers' decoder"], beside),
        f"`deformable_detr` on the same backbone in the shape of RF-DETR Nano (one level, no encoder, {NANO.decoder_layers} "
        f"decoder layers, {NANO.sampling_points} points), {NANO_SIDE} px, beside RF-DETR Nano, whose backbone attends in windows.",
        table(["batch", "share of RF-DETR Nano"], [cells for cells, _ in nano]),
        arguments="PYTHON",
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
