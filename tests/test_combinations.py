"""Every head with every adapter in every backbone: what training, prediction and files rely on.

By default every two of them meet; `-m slow` runs the full product.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dinotune import config
from dinotune.backbones.load import build_backbone
from dinotune.backbones.tiny import draw_encoder
from dinotune.backbones.weights import LoadedEncoder
from dinotune.build import build_head, build_model
from dinotune.checkpoints import Description, load_model, write_checkpoint
from dinotune.config.fields import choices
from dinotune.config.own import OWN_KIND
from dinotune.data.records import ImageRecord, LabelSet, Records
from dinotune.errors import SettingsError
from dinotune.heads.base import Head
from dinotune.heads.faster_rcnn import FasterRcnnHead
from dinotune.heads.queries import QueryOutputs
from dinotune.heads.query_head import QueryHead
from dinotune.model import Model
from dinotune.tasks.detection.coco_metrics import average_precision
from dinotune.tasks.detection.detected_boxes import DetectedBoxes
from dinotune.testing import HEAD_CHECKS, MODEL_CHECKS, ModelTrial, head_trial
from dinotune.testing.predictions import is_same
from dinotune.testing.tools import awake
from dinotune.types import Detections
from tests.small_parts import ADAPTERS, DETECTORS, HEADS

BACKBONES = ("tiny-dinov2", "tiny-dinov2-reg", "tiny-dinov3", "tiny-convnext")
TRAINABLE = ("none", "1")
"""Whether the last block learns too: it goes with any adapter."""
LABELS = LabelSet(("a", "b", "c"), (1, 2, 3))
IDENTITY = "0" * 64


@dataclass(frozen=True)
class Combination:
    """A word from each of the four tables."""

    head: str
    adapter: str
    backbone: str
    trainable: str

    def __str__(self) -> str:
        return f"{self.head}-{self.adapter}-{self.backbone}-{self.trainable}"

    @property
    def exists(self) -> bool:
        """DAGA follows the attention of the CLS token, which ConvNeXt does not have."""
        return (self.adapter, self.backbone) != ("daga", "tiny-convnext")

    @property
    def pairs(self) -> set[tuple[str, str]]:
        """The pairs of words that meet here."""
        words = [f"{name} {word}" for name, word in vars(self).items()]
        return set(itertools.combinations(words, 2))

    def experiment(self) -> config.Experiment:
        """Settings of a small model."""
        depth = 4 if self.backbone == "tiny-convnext" else 2
        backbone: dict[str, Any] = {"id": self.backbone, "tiny": {"width": 32, "depth": depth}}
        backbone["trainable"] = () if self.trainable == "none" else int(self.trainable)
        head = {"kind": self.head, **HEADS[self.head]}
        adapter = {"kind": self.adapter, **ADAPTERS[self.adapter]}
        return config.Experiment.model_validate({"backbone": backbone, "head": head, "adapter": adapter})

    def trial(self) -> ModelTrial:
        """What the generic checks take."""
        experiment = self.experiment()

        def make(classes: int) -> Model:
            names = tuple(f"class {number}" for number in range(classes))
            seeded = experiment.model_copy(update={"seed": torch.initial_seed()})
            return build_model(seeded, LabelSet(names, tuple(range(1, classes + 1))))[0]

        return ModelTrial(make)


PRODUCT = [
    combination
    for words in itertools.product(HEADS, ADAPTERS, BACKBONES, TRAINABLE)
    if (combination := Combination(*words)).exists
]


def pairwise(product: Sequence[Combination]) -> Iterator[Combination]:
    """Few combinations in which all pairs of words meet that can: greedily the one with the most new pairs."""
    missing = set().union(*(combination.pairs for combination in product))
    while missing:
        best = max(product, key=lambda combination: len(combination.pairs & missing))
        missing -= best.pairs
        yield best


CHOSEN = list(pairwise(PRODUCT))
REST = [pytest.param(combination, marks=pytest.mark.slow) for combination in PRODUCT if combination not in CHOSEN]


@pytest.mark.parametrize(("field", "table"), [("head", HEADS), ("adapter", ADAPTERS)])
def test_every_kind_has_small_settings_here(field: str, table: dict[str, Any]) -> None:
    kinds = set(choices(config.Experiment.model_fields[field])) - {OWN_KIND}
    missing = sorted(kinds - table.keys())
    assert not missing, f"add small settings for {', '.join(missing)} to {field.upper()}S in small_parts.py"
    assert table.keys() == kinds, "these are no kinds any more"


def test_all_pairs_meet_in_the_default_run() -> None:
    met = set().union(*(combination.pairs for combination in CHOSEN))
    assert ("adapter daga", "backbone tiny-convnext") not in met
    expected = [(len(a) * len(b)) for a, b in itertools.combinations((HEADS, ADAPTERS, BACKBONES, TRAINABLE), 2)]
    assert len(met) == sum(expected) - 1
    assert len(CHOSEN) < len(PRODUCT) / 3


@pytest.mark.parametrize("combination", [*CHOSEN, *REST], ids=str)
@pytest.mark.parametrize("check", MODEL_CHECKS)
def test_combination(check: str, combination: Combination) -> None:
    MODEL_CHECKS[check](combination.trial())


@pytest.mark.parametrize("combination", [*CHOSEN, *REST], ids=str)
def test_what_learns_is_head_adapter_and_trainable_blocks(combination: Combination) -> None:
    model = combination.trial().make(3)
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    groups = [model.backbone.adapter_parameters(), *(group for _, group in model.backbone.stage_parameters())]
    expected = {f"head.{name}" for name, _ in model.head.named_parameters()}
    assert learning == expected | {f"backbone.{name}" for group in groups for name, _ in group}
    assert bool(model.backbone.adapter_parameters()) is (combination.adapter != "frozen")
    assert bool(model.backbone.stage_parameters()) is (combination.trainable != "none")


@pytest.fixture
def _weights_with_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights count as those of a file: they are drawn from the seed, so they are there again when loaded."""
    draw = draw_encoder

    def with_identity(id_: str, tiny: config.TinyShape | None, seed: int) -> LoadedEncoder:
        drawn = draw(id_, tiny, seed)
        return replace(drawn, report=replace(drawn.report, sha256=IDENTITY))

    monkeypatch.setattr("dinotune.backbones.load.draw_encoder", with_identity)


@pytest.mark.usefixtures("_weights_with_identity")
@pytest.mark.parametrize("combination", [*CHOSEN, *REST], ids=str)
def test_a_file_holds_what_learns_alone_and_predicts_the_same(combination: Combination, tmp_path: Path) -> None:
    experiment = combination.experiment()
    model, report = build_model(experiment, LABELS)
    awake(model)
    images, _ = ModelTrial(lambda _: model).batch(2, 0, model=model)
    file = tmp_path / "model.safetensors"
    write_checkpoint(file, model, Description(experiment, LABELS, report.sha256, {}, 0, {}))
    learning = [p for p in model.parameters() if p.requires_grad]
    buffers = [*model.head.buffers(), *(model.backbone.after_blocks.buffers() if model.backbone.after_blocks else ())]
    needed = sum(tensor.nbytes for tensor in [*learning, *buffers])
    assert needed * 0.99 < file.stat().st_size < needed + 30_000
    loaded, _ = load_model(file)
    with torch.no_grad():
        ours, theirs = model.eval().predict(images), loaded.predict(images)
    assert is_same(ours, theirs)


@pytest.mark.parametrize("trainable", TRAINABLE)
def test_daga_is_refused_in_convnext(trainable: str) -> None:
    experiment = Combination("detr", "daga", "tiny-convnext", trainable).experiment()
    with pytest.raises(SettingsError, match=r"adapter.kind: daga .* ConvNeXt has none; use "):
        build_model(experiment, LABELS)


def small_head(kind: str, **settings: Any) -> Head:
    """A small head on one map of 32 channels."""
    head = {"kind": kind, **HEADS[kind], **settings}
    experiment = config.Experiment.model_validate({"backbone": {"id": "tiny-dinov3"}, "head": head})
    return build_head(experiment.head, build_backbone(experiment.backbone)[0], 3)


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("check", sorted(HEAD_CHECKS.keys() - MODEL_CHECKS.keys()))
def test_head(check: str, kind: str) -> None:
    """Checks that have nothing to do with the backbone."""
    page = Combination(kind, "frozen", "tiny-dinov3", "none").experiment()
    backbone, _ = build_backbone(page.backbone)
    HEAD_CHECKS[check](head_trial(lambda _, __, classes: build_head(page.head, backbone, classes), backbone=backbone))


def perfect_answer(head: Head, boxes: torch.Tensor, labels: torch.Tensor, image_hw: tuple[int, int]) -> Detections:
    """What the head's post-processing makes of raw outputs that say the truth about one picture."""
    match head:
        case FasterRcnnHead():
            logits = torch.full((len(boxes), 4), -9.0)
            logits[torch.arange(len(boxes)), labels + 1] = 9.0
            return head.postprocess(logits, torch.zeros(len(boxes), 16), [boxes], image_hw)
        case QueryHead():
            logits = torch.full((1, 1, 7, head.class_loss.outputs), -9.0)
            if head.class_loss.outputs > 3:
                logits[..., len(boxes) :, 3] = 9.0
            logits[0, 0, torch.arange(len(boxes)), labels] = 9.0
            height, width = image_hw
            x1, y1, x2, y2 = (boxes / boxes.new_tensor([width, height, width, height])).unbind(1)
            shares = torch.full((1, 1, 7, 4), 0.5)
            shares[0, 0, : len(boxes)] = torch.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], dim=1)
            return head.postprocess(QueryOutputs(logits, shares), image_hw)
    raise AssertionError(f"say here how {type(head).__name__} answers perfectly")


@pytest.mark.parametrize("class_loss", ["cross_entropy", "focal"])
@pytest.mark.parametrize("kind", DETECTORS)
def test_the_truth_scores_one(kind: str, class_loss: str) -> None:
    """Oracle: AP 1.0 through the head's post-processing, and less where boxes are two pixels off."""
    head = small_head(kind, **({} if kind == "faster_rcnn" else {"class_loss": class_loss}))
    image_hw, corners = (64, 96), torch.tensor([[4.0, 4, 30, 28], [40, 6, 90, 30], [8, 36, 50, 60], [60, 34, 94, 62]])
    labels = torch.tensor([0, 2, 1, 2])
    record = ImageRecord(
        path=Path("picture.png"),
        image_id=1,
        height=image_hw[0],
        width=image_hw[1],
        boxes=corners.double().numpy(),
        labels=labels.numpy(),
        crowd=np.zeros(4, np.bool_),
        areas=((corners[:, 2:] - corners[:, :2]).prod(1)).double().numpy(),
    )
    records = Records.from_images("truth", LABELS, [record])

    def score(shift: float) -> float | None:
        found = perfect_answer(head, corners + shift, labels, image_hw)
        filled = found.labels[0] >= 0
        columns = (found.boxes[0].double(), found.scores[0].double(), found.labels[0])
        rows = (column[filled].numpy() for column in columns)
        return average_precision(records, DetectedBoxes(np.ones(int(filled.sum()), np.int64), *rows))

    assert score(0) == pytest.approx(1.0, abs=1e-9)
    assert (score(2) or 0) < 0.97
