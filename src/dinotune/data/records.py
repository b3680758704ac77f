"""Records: one data set split as plain numpy columns, safe for fork, spawn and forkserver.

Readers make it, writers and loaders take it; it never holds a Python object per box.
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
from jaxtyping import Bool, Float64, Int64

from dinotune.config.tasks import LabelKind
from dinotune.data.mask_files import MaskFile, MaskFiles
from dinotune.data.segments import Segments
from dinotune.errors import DataError


@dataclass(frozen=True)
class LabelSet:
    """Class names in order of their 0-based index, and the ids the data set gave them."""

    names: tuple[str, ...]
    ids: tuple[int, ...]
    """Original category ids (COCO's are sparse); 1..n for formats without ids."""

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class ImageRecord:
    """One picture of a split. Boxes are absolute xyxy pixels of the picture as annotated."""

    path: Path
    image_id: int
    height: int
    width: int
    boxes: Float64[np.ndarray, "objects 4"]
    labels: Int64[np.ndarray, "objects"]
    crowd: Bool[np.ndarray, "objects"]
    areas: Float64[np.ndarray, "objects"]
    image_label: int | None = None
    """0-based class of the picture as a whole, where the data set has such labels."""
    mask: MaskFile | None = None
    """What says the class of each pixel, where the data set has such files."""
    segments: tuple[str, ...] | None = None
    """The pixels of each object, as COCO writes them in JSON, where they were asked for."""


@dataclass(frozen=True)
class Records:
    """All pictures of one split with their labels; box rows of image i are offsets[i]:offsets[i+1]."""

    name: str
    """Where this came from, for messages: `bccd train`."""
    labels: LabelSet
    paths: np.ndarray
    """Picture files, as str."""
    image_ids: Int64[np.ndarray, "images"]
    """Original ids (COCO), or 1..n in listed order."""
    sizes_hw: Int64[np.ndarray, "images 2"]
    """Height and width as annotated (after EXIF rotation where the annotation was made so)."""
    offsets: Int64[np.ndarray, "images+1"]
    boxes: Float64[np.ndarray, "objects 4"]
    """Absolute xyxy pixels of the picture."""
    box_labels: Int64[np.ndarray, "objects"]
    crowd: Bool[np.ndarray, "objects"]
    """Ignore regions: no training targets, excluded in evaluation."""
    areas: Float64[np.ndarray, "objects"]
    """Area in square pixels that COCO's size classes use (of the mask where the data set has one)."""
    image_labels: Int64[np.ndarray, "images"] | None = None
    """0-based class of each picture as a whole; such a data set has no boxes."""
    mask_files: MaskFiles | None = None
    """Files with the class of each pixel; such a data set has no boxes."""
    segments: Segments | None = None
    """The pixels of each object, where they were asked for."""
    has: LabelKind = "boxes"
    """What the labels are used for. Pixels of objects may stand for classes of pixels, class 0 being the background."""
    notes: tuple[str, ...] = ()
    """What the reader changed or left out and how the split came about, a sentence each."""
    subset_of: str = ""
    """Fingerprint of the pictures that these were chosen from (`subsets`); empty where they are all there are."""

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> ImageRecord:
        if not 0 <= index < len(self):
            raise IndexError(index)
        rows = slice(self.offsets[index], self.offsets[index + 1])
        height, width = self.sizes_hw[index]
        return ImageRecord(
            path=Path(str(self.paths[index])),
            image_id=int(self.image_ids[index]),
            height=int(height),
            width=int(width),
            boxes=self.boxes[rows],
            labels=self.box_labels[rows],
            crowd=self.crowd[rows],
            areas=self.areas[rows],
            image_label=None if self.image_labels is None else int(self.image_labels[index]),
            mask=None
            if self.mask_files is None
            else MaskFile(Path(str(self.mask_files.paths[index])), self.mask_files.coding),
            segments=None if self.segments is None else self.segments.texts(rows.start, rows.stop),
        )

    @property
    def rows(self) -> dict[int, int]:
        """Position of each picture by its id."""
        return {image_id: row for row, image_id in enumerate(self.image_ids.tolist())}

    def select(self, indices: Int64[np.ndarray, "chosen"]) -> Self:
        """The same data set with only these images, in this order."""
        counts = np.diff(self.offsets)[indices]
        rows = np.concatenate(
            [np.arange(self.offsets[i], self.offsets[i + 1]) for i in indices] or [np.empty(0, np.int64)]
        ).astype(np.int64)
        return replace(
            self,
            paths=self.paths[indices],
            image_ids=self.image_ids[indices],
            sizes_hw=self.sizes_hw[indices],
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            boxes=self.boxes[rows],
            box_labels=self.box_labels[rows],
            crowd=self.crowd[rows],
            areas=self.areas[rows],
            image_labels=None if self.image_labels is None else self.image_labels[indices],
            mask_files=None if self.mask_files is None else self.mask_files.select(indices),
            segments=None if self.segments is None else self.segments.select(rows),
        )

    def shown_classes(self, *, crowd: bool = True) -> tuple[Int64[np.ndarray, "pairs"], Int64[np.ndarray, "pairs"]]:
        """Positions of pictures and the classes that they show, every pair once; without `crowd` by targets alone.

        Objects without a mask show none where pixels have classes.
        """
        if self.image_labels is not None:
            return np.arange(len(self)), self.image_labels
        images = np.repeat(np.arange(len(self)), np.diff(self.offsets))
        pairs = images * len(self.labels) + self.box_labels
        shown = np.ones(len(pairs), np.bool_) if crowd else ~self.crowd
        if self.has == "semantic_masks" and self.segments is not None:
            shown &= self.segments.present
        images, labels = np.divmod(np.unique(pairs[shown]), len(self.labels))
        return images, labels

    def fingerprint(self) -> str:
        """Hash of classes, file names, ids, sizes and boxes; the folder they lie in does not count."""
        digest = hashlib.sha256(repr((self.labels, [Path(str(path)).name for path in self.paths])).encode())
        columns = (self.image_ids, self.sizes_hw, self.offsets, self.boxes, self.box_labels, self.crowd)
        for column in (*columns, *self._further_columns()):
            digest.update(np.ascontiguousarray(column).tobytes())
        return digest.hexdigest()

    def _further_columns(self) -> list[np.ndarray]:
        found = [] if self.image_labels is None else [self.image_labels]
        if self.mask_files is not None:
            names = "\n".join(Path(str(path)).name for path in self.mask_files.paths)
            found.append(np.frombuffer(f"{self.mask_files.coding}{names}".encode(), np.uint8))
        return found if self.segments is None else [*found, self.segments.text]

    @classmethod
    def from_images(cls, name: str, labels: LabelSet, images: list[ImageRecord], notes: tuple[str, ...] = ()) -> Self:
        """Columns from single images, as readers build them."""
        if not images:
            raise DataError(f"{name}: no pictures; an empty split cannot be used")
        counts = [len(image.boxes) for image in images]
        whole = [image.image_label for image in images if image.image_label is not None]
        masks = [image.mask for image in images if image.mask is not None]
        segments = [image.segments for image in images if image.segments is not None]
        return cls(
            name=name,
            labels=labels,
            paths=np.array([str(image.path) for image in images]),
            image_ids=np.array([image.image_id for image in images], np.int64),
            sizes_hw=np.array([(image.height, image.width) for image in images], np.int64),
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            boxes=np.concatenate([image.boxes for image in images]).reshape(-1, 4).astype(np.float64),
            box_labels=np.concatenate([image.labels for image in images]).astype(np.int64),
            crowd=np.concatenate([image.crowd for image in images]).astype(np.bool_),
            areas=np.concatenate([image.areas for image in images]).astype(np.float64),
            image_labels=np.array(whole, np.int64) if whole else None,
            mask_files=MaskFiles(np.array([str(mask.path) for mask in masks]), masks[0].coding) if masks else None,
            segments=Segments.from_texts(text for texts in segments for text in texts) if segments else None,
            has="classes" if whole else "semantic_masks" if masks else "boxes",
            notes=notes,
        )
