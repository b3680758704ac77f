"""The three values that travel: Features, Targets, Predictions; and the Losses that teach.

One box convention: absolute ``xyxy`` pixels of the network input (or, where a docstring says so,
of the picture). Box edges are continuous coordinates: a box over the whole picture is (0, 0, w, h).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int16, Int64
from torch import Tensor


@dataclass(frozen=True)
class Cut:
    """What the frozen part of a backbone computed of a batch: all that its trained part needs, before any norm.

    `taps` holds the raw output sequences (prefix tokens included, or maps for ConvNeXt) of every
    tapped block below the cut, by block number; `sequence` is what the trained part starts from: the
    input of the first block in which something learns, the output of the first block that an adapter
    follows, the images themselves where the patch embedding learns, or none where everything is frozen.
    `guidance` is the attention map that the adapter asks for, [batch, 1, h, w], unless blocks that
    learn have a part in it.
    """

    taps: Mapping[int, Tensor]
    sequence: Tensor | None
    image_hw: tuple[int, int]
    guidance: Tensor | None = None

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Its tensors by name: `tap_3`, `sequence`, `guidance`; two names can stand for one tensor."""
        named = {f"tap_{block}": tap for block, tap in self.taps.items()}
        named |= {} if self.sequence is None else {"sequence": self.sequence}
        return named | ({} if self.guidance is None else {"guidance": self.guidance})

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], image_hw: tuple[int, int]) -> "Cut":
        """The cut whose `tensors` these are."""
        taps = {int(name.removeprefix("tap_")): tap for name, tap in tensors.items() if name.startswith("tap_")}
        return cls(taps, tensors.get("sequence"), image_hw, tensors.get("guidance"))

    @property
    def alias(self) -> str:
        """Name of the tensor that is the sequence too; empty where none is."""
        return next((f"tap_{block}" for block, tap in self.taps.items() if tap is self.sequence), "")

    @property
    def distinct(self) -> dict[str, Tensor]:
        """Its tensors by name, each once: without a sequence that is a tap."""
        return {name: tensor for name, tensor in self.tensors.items() if not (self.alias and name == "sequence")}

    def map(self, change: Callable[[Tensor], Tensor]) -> "Cut":
        """The same cut with every tensor changed, each once."""
        return self.replaced({name: change(tensor) for name, tensor in self.distinct.items()})

    def replaced(self, tensors: Mapping[str, Tensor]) -> "Cut":
        """The same cut with other tensors; a sequence that is a tap need not be among them."""
        alias = {"sequence": tensors[self.alias]} if self.alias else {}
        return Cut.of({**tensors, **alias}, self.image_hw)

    def to(self, device: torch.device, non_blocking: bool = False) -> "Cut":
        """The same cut on another device."""
        return self.map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def in_fp32(self) -> "Cut":
        """The same cut in single precision, as blocks and norms take it."""
        return self.map(Tensor.float)


@dataclass(frozen=True)
class Features:
    """What a backbone gives for a batch of images of one size."""

    maps: tuple[Float[Tensor, "batch _channels _h _w"], ...]
    """One feature map per tap, shallowest first."""
    strides: tuple[int, ...]
    """Pixels of the network input per cell of each map."""
    cls: Float[Tensor, "batch channels"]
    """The CLS token after the final norm (for ConvNeXt: LayerNorm of the mean over the last map)."""
    prefix: tuple[Float[Tensor, "batch _tokens _channels"], ...]
    """Prefix tokens (CLS first, then registers) of each tap, normed like its map; none for ConvNeXt."""
    image_hw: tuple[int, int]
    """Height and width of the network input in pixels."""


@dataclass(frozen=True)
class Targets:
    """Ground truth of a batch, in pixels of the network input. Images without objects are normal."""

    boxes: tuple[Float[Tensor, "_objects 4"], ...]
    """Absolute xyxy boxes per image."""
    labels: tuple[Int64[Tensor, "_objects"], ...]
    """0-based class indices per image."""
    classes: Int64[Tensor, "batch"] | None = None
    """0-based class index of each image as a whole; none where the data has no such labels."""
    class_maps: Int16[Tensor, "batch height width"] | None = None
    """0-based class index of each pixel of the network input, -1 (`IGNORED`) where none counts; none without such labels."""
    masks: tuple[Bool[Tensor, "_objects height width"], ...] | None = None
    """The pixels of the network input that belong to each object; none without such labels."""

    def __len__(self) -> int:
        return len(self.boxes)

    def map(self, change: Callable[[Tensor], Tensor]) -> "Targets":
        """The same targets with every tensor changed."""
        return Targets(
            boxes=tuple(map(change, self.boxes)),
            labels=tuple(map(change, self.labels)),
            classes=None if self.classes is None else change(self.classes),
            class_maps=None if self.class_maps is None else change(self.class_maps),
            masks=None if self.masks is None else tuple(map(change, self.masks)),
        )

    def to(self, device: torch.device, non_blocking: bool = False) -> "Targets":
        """The same targets on another device."""
        return self.map(lambda tensor: tensor.to(device, non_blocking=non_blocking))


@dataclass(frozen=True)
class Detections:
    """K detection slots per image, best score first; score 0 and label -1 mean an empty slot."""

    boxes: Float[Tensor, "batch slots 4"]
    """Absolute xyxy boxes in pixels of the network input."""
    scores: Float[Tensor, "batch slots"]
    """Confidence in [0, 1]."""
    labels: Int64[Tensor, "batch slots"]
    """0-based class indices."""


@dataclass(frozen=True)
class ClassScores:
    """How sure a model is of each class of an image."""

    scores: Float[Tensor, "batch classes"]
    """Shares that sum to 1."""


@dataclass(frozen=True)
class SemanticMaps:
    """How much each place of an image looks like each class, on a grid over the network input."""

    scores: Float[Tensor, "batch classes rows columns"]
    """A pixel's class is the one with the highest score after bilinear interpolation."""


@dataclass(frozen=True)
class InstanceMasks(Detections):
    """Detections with a mask each."""

    masks: Float[Tensor, "batch slots rows columns"]
    """Probability in [0, 1] on a grid over the network input; after bilinear interpolation, pixels above a half belong
    to the object."""


Predictions = Detections | ClassScores | SemanticMaps


@dataclass(frozen=True)
class Losses:
    """Weighted loss terms of one batch by name (``loss_…``)."""

    terms: Mapping[str, Float[Tensor, ""]]

    @classmethod
    def mean(cls, parts: Sequence["Losses"]) -> "Losses":
        """The mean of each term over parts that all have the same ones."""
        return cls({name: torch.stack([part.terms[name] for part in parts]).mean() for name in parts[0].terms})

    @property
    def total(self) -> Float[Tensor, ""]:
        """Sum of all terms: what `backward` starts from."""
        return torch.stack(list(self.terms.values())).sum()

    def values(self) -> dict[str, float]:
        """The terms as plain numbers, in one copy from the device."""
        return dict(zip(self.terms, torch.stack(list(self.terms.values())).tolist(), strict=True))
