"""Shards: safetensors files of features and labels of some views, each a whole by itself, all of one network size."""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from dinotune.data.packed_masks import pack_masks, unpack_masks
from dinotune.errors import DataError
from dinotune.feature_cache.codec import unpack
from dinotune.feature_cache.stamps import Stamp
from dinotune.files import write_bytes
from dinotune.types import Cut, Targets

FORMAT = "dinotune features 1"
OF_OBJECTS = ("boxes", "labels", "masks")
"""Tensors with a row for each object; all others have one for each view."""


class Key(NamedTuple):
    """A view of a picture."""

    image_id: int
    view: int
    """Number of the view; -1 for the picture as it is evaluated."""


@dataclass(frozen=True)
class Packed:
    """A view as a shard keeps it: packed tensors of its cut by name, and its labels."""

    key: Key
    stamp: Stamp
    image_hw: tuple[int, int]
    tensors: dict[str, Tensor]
    alias: str
    """Name of the tensor that is the sequence too; empty where none is."""
    labels: dict[str, Tensor]

    @property
    def bytes(self) -> int:
        """Room that it takes on disk, but for its entry in the list."""
        return sum(tensor.nbytes for tensor in (*self.tensors.values(), *self.labels.values()))


def write_shard(folder: Path, views: Sequence[Packed]) -> Path:
    """Write views of one network size as one file, atomically; OSError names it."""
    first = views[0]
    tensors = {name: torch.stack([view.tensors[name] for view in views]) for name in first.tensors}
    tensors |= {name: torch.cat([view.labels[name] for view in views]) for name in first.labels}
    entries = [[*view.key, view.stamp.to_json(), len(view.labels["boxes"])] for view in views]
    about = {"format": FORMAT, "entries": entries, "image_hw": first.image_hw, "alias": first.alias}
    path = folder / f"{uuid.uuid4().hex}.safetensors"
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    write_bytes(path, save(contiguous, {name: json.dumps(value) for name, value in about.items()}))
    return path


@dataclass(frozen=True)
class Shard:
    """A file of views; tensors are mapped into memory, so that only what is asked for is read."""

    path: Path
    keys: tuple[Key, ...]
    stamps: tuple[Stamp, ...]
    starts: tuple[int, ...]
    """Of view i, the objects are starts[i]:starts[i+1]."""
    image_hw: tuple[int, int]
    alias: str

    @classmethod
    def open(cls, path: Path) -> "Shard":
        """Read what a file holds, but not its tensors.

        Raises:
            DataError: the file is cut short, or is none of ours.
        """
        try:
            with safe_open(path, "pt") as file:
                about: dict[str, Any] = {name: json.loads(value) for name, value in (file.metadata() or {}).items()}
        except (SafetensorError, ValueError) as error:
            raise DataError(f"{path}: no whole file of features ({error})") from error
        if about.get("format") != FORMAT:
            raise DataError(f"{path}: no file of features")
        keys, stamps, starts = [], [], [0]
        for image_id, view, stamp, objects in about["entries"]:
            keys.append(Key(image_id, view))
            stamps.append(Stamp.from_json(stamp))
            starts.append(starts[-1] + objects)
        height, width = about["image_hw"]
        return cls(path, tuple(keys), tuple(stamps), tuple(starts), (height, width), about["alias"])

    @cached_property
    def _tensors(self) -> dict[str, Tensor]:
        return load_file(self.path)

    def map(self) -> None:
        """Map the tensors into memory now, so that they stay readable if the file is removed."""
        _ = self._tensors

    def into_memory(self) -> None:
        """Hold all tensors in memory from here on."""
        self.__dict__["_tensors"] = {name: tensor.clone() for name, tensor in self._tensors.items()}

    def __getitem__(self, row: int) -> dict[str, Tensor]:
        """Features and labels of a view by name, as they are kept."""
        objects = slice(self.starts[row], self.starts[row + 1])
        return {name: tensor[objects if name in OF_OBJECTS else row] for name, tensor in self._tensors.items()}


def unpack_views(views: Sequence[Mapping[str, Tensor]], image_hw: tuple[int, int], alias: str) -> tuple[Cut, Targets]:
    """A batch of views of one network size, each as its shard has it; without the pictures' own classes."""
    first = views[0]
    stacked = {name: torch.stack([view[name] for view in views]) for name in first if name not in OF_OBJECTS}
    class_maps = stacked.pop("class_map", None)
    features = unpack(stacked)
    if alias:
        features["sequence"] = features[alias]
    return Cut.of(features, image_hw), Targets(
        boxes=tuple(view["boxes"] for view in views),
        labels=tuple(view["labels"] for view in views),
        class_maps=None if class_maps is None else class_maps.short(),
        masks=tuple(unpack_masks(view["masks"], image_hw) for view in views) if "masks" in first else None,
    )


def pack_labels(boxes: Tensor, labels: Tensor, class_map: Tensor | None, masks: Tensor | None) -> dict[str, Tensor]:
    """Labels of a view as a shard keeps them."""
    packed = {"boxes": boxes, "labels": labels}
    if class_map is not None:
        small = class_map.max() <= torch.iinfo(torch.int8).max
        packed["class_map"] = class_map[None].to(torch.int8) if small else class_map[None]
    return packed | ({} if masks is None else {"masks": pack_masks(masks)})
