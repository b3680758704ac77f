"""Settings that suit a data set and a machine, each with its reason. Pure: a survey goes in, choices come out."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dinotune.backbones.variants import find_variant
from dinotune.config.experiment import Experiment
from dinotune.config.fields import sections
from dinotune.config.head import HEAD_TASKS
from dinotune.config.heads.query_head import QueryHead
from dinotune.config.recipes import MODIFIERS, RECIPES, names
from dinotune.config.tasks import NEEDS, LabelKind
from dinotune.config.yaml_file import read_layer
from dinotune.data.problems import counted
from dinotune.errors import SettingsError
from dinotune.starting.survey import Survey

DEFAULT_BACKBONE = "facebook/dinov2-with-registers-small"
DEFAULT_HEADS: Mapping[LabelKind, str] = {
    "boxes": "faster_rcnn",
    "classes": "linear_classifier",
    "semantic_masks": "linear_segmenter",
    "instance_masks": "instance_mask_decoder",
}

SMALL_OBJECTS = 0.1
"""Quantile that stands for the small objects."""


@dataclass(frozen=True)
class Effort:
    """How much a machine is asked to do."""

    usual_size: int
    """Shorter side of the network input where the objects need no more."""
    largest_size: int
    """The same where small objects need more."""
    steps: int
    """Training steps of the head that learns fastest; queries take `PATIENCE` times as many."""
    batch_size: int


GPU = Effort(usual_size=640, largest_size=1024, steps=3000, batch_size=4)
CPU = Effort(usual_size=320, largest_size=448, steps=1500, batch_size=2)

PATIENCE = 3
"""Heads with queries learn so much slower (DETR took 500 epochs where Faster R-CNN takes 36)."""

SMALL_PICTURES = 8
"""So many times more pictures of a classifier's size are in a step than of a detector's."""

FEWEST_EPOCHS, MOST_EPOCHS = 12, 300


@dataclass(frozen=True)
class Choice:
    """One setting with its reason."""

    key: str
    value: Any
    reason: str


@dataclass(frozen=True)
class Wishes:
    """What the user and the machine say beforehand."""

    backbone: str = DEFAULT_BACKBONE
    head: str = ""
    """Empty takes the one that suits the labels."""
    gpu: bool = True

    @property
    def effort(self) -> Effort:
        """What the machine can do."""
        return GPU if self.gpu else CPU

    @property
    def tiny(self) -> bool:
        """Whether the backbone has random weights and must learn."""
        return self.backbone.startswith("tiny-")


def choose(survey: Survey, wishes: Wishes) -> list[Choice]:
    """Every setting that differs from the recipe or is worth seeing, in the order of the page.

    Raises:
        SettingsError: there is no such head for the labels that the data has.
    """
    kinds = [kind for kind, task in HEAD_TASKS.items() if NEEDS[task] == survey.has]
    wishes = replace(wishes, head=wishes.head or DEFAULT_HEADS[survey.has])
    if wishes.head not in kinds:
        task = HEAD_TASKS.get(wishes.head)
        problem = f"{wishes.head} learns from {NEEDS[task]}" if task else f'there is no "{wishes.head}"'
        raise SettingsError(f"--head: {problem}; the labels are {survey.has}, so use {' or '.join(kinds)}")
    if survey.has in ("classes", "semantic_masks"):
        return list(_without_objects(survey, wishes))
    patch = _patch(survey, wishes)
    size = _size(survey, wishes.effort, patch)
    return [
        *_base(wishes.head),
        Choice("name", _name(survey), "of the run folder, before date and time"),
        *_data(survey),
        size,
        *_backbone(wishes, patch),
        *_head(survey, wishes, patch, size.value),
        *_training(survey, wishes),
        *_evaluation(survey),
    ]


def _without_objects(survey: Survey, wishes: Wishes) -> Iterator[Choice]:
    """For classes of pictures as wholes, or of pixels."""
    yield from _base(wishes.head)
    yield Choice("name", _name(survey), "of the run folder, before date and time")
    yield from _data(survey)
    size, why = (224, "at which classifiers are compared") if wishes.gpu else (128, "no GPU here; else 224")
    if survey.has == "semantic_masks":
        size, why = min(survey.short_side, wishes.effort.usual_size), f"pictures have {survey.short_side} px"
    yield Choice("data.size", size, why)
    yield from _backbone(wishes, 16)
    yield Choice("head.kind", wishes.head, "dinotune list heads prints others")
    yield from _training(survey, wishes)


def _base(head: str) -> Iterator[Choice]:
    if head in names(RECIPES):
        yield Choice("base", head, "the recipe that all other settings come from")


def _name(survey: Survey) -> str:
    """The folder's name as a run folder can bear it."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", survey.found.root.resolve().name).strip("._-")
    return plain or "experiment"


def _patch(survey: Survey, wishes: Wishes) -> int:
    """Pixels of the network input per token; a tiny ViT takes 8 where 16 would be too coarse."""
    if not wishes.tiny:
        variant = find_variant(wishes.backbone)
        return variant.patch_size if variant else 16
    if wishes.backbone == "tiny-convnext":
        return 32
    small = float(np.quantile(survey.object_shares, SMALL_OBJECTS))
    return 16 if small * min(survey.short_side, wishes.effort.usual_size) >= 16 else 8


def _backbone(wishes: Wishes, patch: int) -> Iterator[Choice]:
    variant = find_variant(wishes.backbone)
    if not wishes.tiny:
        what = f"frozen; {variant.parameters / 1e6:.0f} M parameters, {variant.licence}" if variant else "frozen"
        yield Choice("backbone.id", wishes.backbone, f"{what}; dinotune backbones prints others")
        return
    yield Choice("backbone.id", wishes.backbone, "random weights: needs no download, knows nothing yet")
    if wishes.backbone != "tiny-convnext":
        shape = {"width": 192 if patch == 16 else 128, "depth": 4, "patch_size": patch}
        yield Choice("backbone.tiny", shape, "small enough to learn from scratch")
    yield Choice("backbone.trainable", "all", "random weights have to learn")


def _size(survey: Survey, effort: Effort, patch: int) -> Choice:
    """As large as small objects need, never beyond the pictures' own pixels or what the machine can do."""
    small, median = np.quantile(survey.object_shares, [SMALL_OBJECTS, 0.5]).tolist()
    needed = -(-patch // small // 32) * 32
    size = int(min(survey.short_side, max(effort.usual_size, min(needed, effort.largest_size))))
    objects = f"objects are {np.median(survey.object_sides):.0f} px in the median; at {size} they cover"
    reason = f"{objects} {_short(median * size / patch)} patches"
    if needed > size:
        limit = "all the pixels there are" if size == survey.short_side else f"{int(needed)} would be enough for them"
        reason = f"{reason}, a tenth less than one: {limit}"
    return Choice("data.size", size, reason)


def _short(number: float) -> str:
    return f"{number:.1f}" if number < 10 else f"{number:.0f}"


def slots(survey: Survey) -> int:
    """Detections per picture: 100, or a quarter more than the fullest picture holds."""
    return 100 if survey.most_objects <= 100 else -(-survey.most_objects * 5 // 4 // 50) * 50


def _head(survey: Survey, wishes: Wishes, patch: int, size: int) -> Iterator[Choice]:
    section = sections(Experiment.model_fields["head"])[wishes.head]
    yield Choice("head.kind", wishes.head, "dinotune list heads prints others")
    count = slots(survey)
    for key in ("queries", "slots"):
        if key in section.model_fields:
            yield Choice(f"head.{key}", count, f"the fullest picture holds {survey.most_objects} objects")
    if wishes.head == "faster_rcnn":
        yield from _levels(survey, wishes, patch, size)
    for key, value in _smaller_head(wishes).items():
        if key in section.model_fields and key != "queries":
            enough = max(value, count) if key.endswith("_predict") else value
            yield Choice(f"head.{key}", enough, f"no GPU here; else {section.model_fields[key].get_default()}")
    if wishes.gpu:
        for key in ("rpn_candidates_predict", "rpn_proposals_predict"):
            if key in section.model_fields and count > section.model_fields[key].get_default():
                yield Choice(f"head.{key}", count, "as many as the slots")


def _smaller_head(wishes: Wishes) -> Mapping[str, int]:
    """What the modifier `cpu` does to the head, where there is no GPU."""
    if wishes.gpu:
        return {}
    head: dict[str, int] = read_layer(MODIFIERS / "cpu.yaml").tree["head"]
    return head


def _levels(survey: Survey, wishes: Wishes, patch: int, size: int) -> Iterator[Choice]:
    """Pyramid levels, and a side of anchors per level where the usual sides (8 times the stride) are too large."""
    section = sections(Experiment.model_fields["head"])["faster_rcnn"]
    factors = section.model_fields["stride_factors"].get_default()
    stride = min(patch, 16)  # ConvNeXt's maps are brought to stride 16
    small, large = (np.quantile(survey.object_shares, [SMALL_OBJECTS, 1 - SMALL_OBJECTS]) * size).tolist()
    if not wishes.gpu and small >= 2 * stride * factors[1]:
        factors = factors[1:]
        yield Choice("head.stride_factors", list(factors), "no GPU here; a finer level is for smaller objects")
    if small <= 0.7 * 8 * stride * factors[0]:
        sides = _spread(max(small, 4), large, len(factors))
        yield Choice("head.anchor_sizes", sides, f"at {size}, eight of ten objects are {small:.0f} to {large:.0f} px")


def _spread(small: float, large: float, levels: int) -> list[list[int]]:
    """One side per level from small to large, at least the cube root of 2 apart: closer ones are nearly the same."""
    ratio = max((large / small) ** (1 / (levels - 1)), 2 ** (1 / 3))
    return [[round(small * ratio**level)] for level in range(levels)]


def _data(survey: Survey) -> Iterator[Choice]:
    root = str(survey.found.root)
    # The bare word `none` would say that nothing is set.
    yield Choice(
        "data.root",
        "./none" if root == "none" else root,
        f"{counted(len(survey.classes), 'class')}; relative to where you start",
    )
    yield Choice("data.format", survey.found.format, "as found in the folder")
    if survey.held_out:
        held, rest = survey.counts["val"].pictures, survey.counts["train"].pictures
        reason = f"no validation split: {held} of {held + rest} pictures are held out"
        yield Choice("data.validation_share", 0.2, reason)


def _training(survey: Survey, wishes: Wishes) -> Iterator[Choice]:
    pictures = survey.counts["train"].pictures
    usual = wishes.effort.batch_size * (SMALL_PICTURES if survey.has == "classes" else 1)
    batch = min(usual * (2 if pictures >= 2000 and wishes.gpu else 1), pictures)
    per_epoch = -(-pictures // batch)
    head = sections(Experiment.model_fields["head"])[wishes.head]
    steps = wishes.effort.steps * (PATIENCE if issubclass(head, QueryHead) else 1)
    epochs = int(np.clip(round(steps / per_epoch), FEWEST_EPOCHS, MOST_EPOCHS))
    yield Choice("training.epochs", epochs, f"about {per_epoch:,} steps each, {epochs * per_epoch:,} in all")
    why = "pictures per step; halve it if memory runs out" if wishes.gpu else "no GPU here"
    yield Choice("training.batch_size", batch, why)
    if wishes.tiny:
        yield Choice("training.learning_rate", 1e-3, "high, to learn from scratch")
    if (every := round(epochs / FEWEST_EPOCHS)) > 1:
        yield Choice("training.validate_every", every, "epochs between evaluations")


def _evaluation(survey: Survey) -> Iterator[Choice]:
    if (count := slots(survey)) > 100:
        yield Choice("evaluation.max_detections", count, "COCO's 100 would cut full pictures off")
