"""Settings of the data: where it lies, how it is split, resized and augmented."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from dinotune.config.base import Count, PositiveFloat, Section, Share, Switch, UserPath
from dinotune.config.tasks import IGNORED_VALUE

Sizes = Annotated[tuple[Count, ...], Field(min_length=1)]


CHOICES = ("limit", "share", "subset")
"""The ways to use only some pictures of a split."""

UNCHANGED = {
    "flip": 0,
    "flip_vertical": 0,
    "rotation": 0,
    "scale_jitter": (1, 1),
    "sizes": None,
    "crop": 0,
    "square_crops": False,
    "photometric": 0,
}
"""What `augmentation: none` stands for."""

DETR = UNCHANGED | {
    "flip": 0.5,
    "sizes": tuple(range(480, 801, 32)),
    "crop": 0.5,
    "crop_resize": (400, 500, 600),
    "crop_size": (384, 600),
}
"""What `augmentation: detr` stands for: Carion et al. 2020, section 4."""


class Split(Section):
    """Explicit place of one split, beside or instead of `data.root`, and how much of it is used."""

    images: UserPath | None = None
    """Folder of the pictures; none takes the format's usual folder below `data.root`."""
    annotations: UserPath | None = None
    """Annotation file (COCO, TorchVision JSON, YOLO's `data.yaml`) or folder (Pascal VOC, YOLO's label files); none takes the format's usual place below `data.root`."""
    limit: Count | None = None
    """Use only this many pictures, drawn with `seed` among those that have boxes; of pictures with classes, as evenly over the classes as they allow."""
    share: Annotated[float, Field(gt=0, le=1)] | None = None
    """Use only this share of the pictures, drawn with `seed` among all."""
    subset: UserPath | None = None
    """Use only the pictures that this JSON file lists, e.g. a run's `subsets/train.json`."""

    @classmethod
    def outdated(cls, old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[str, ...]:
        """A newer choice of pictures takes the place of the older one."""
        if all(new.get(key) is None for key in CHOICES):
            return ()
        return tuple(key for key in CHOICES if old.get(key) is not None and key not in new)

    @model_validator(mode="after")
    def _one_choice(self) -> "Split":
        given = [key for key in CHOICES if getattr(self, key) is not None]
        if len(given) > 1:
            raise ValueError(f"{given[1]}: {' and '.join(given)} exclude each other; keep one of them")
        return self


class Augmentation(Section):
    """Random changes to training pictures; every draw depends on seed, epoch and picture alone."""

    flip: Share = 0.5
    """Probability of a horizontal flip."""
    flip_vertical: Share = 0.0
    """Probability of a vertical flip, for pictures without an upside, as from microscopes and from the air."""
    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    """Largest turn in degrees, to either side; corners without a picture become grey."""
    scale_jitter: tuple[PositiveFloat, PositiveFloat] = (0.8, 1.2)
    """Smallest and largest factor on the network size, drawn once per batch."""
    sizes: Sizes | None = None
    """Shorter sides of the network input, of which one is drawn per batch instead of `size` and `scale_jitter`; `max_size` stays."""
    crop: Share = 0.5
    """Probability of a random crop that keeps the shape of the batch."""
    square_crops: Switch = False
    """Train on squares of `data.size`, cut out of the pictures without stretching them, where they are measured whole; needs `crop: 1`."""
    crop_min_side: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Smallest side of a crop as a share of the largest crop of that shape, where `crop_resize` is none."""
    crop_aspect: tuple[PositiveFloat, PositiveFloat] = (1.0, 1.0)
    """Smallest and largest factor on width / height of a crop, drawn evenly on a logarithmic scale; other than 1, pictures are stretched."""
    crop_resize: Sizes | None = None
    """Shorter sides in pixels, of which one is drawn for the picture that `crop_size` is measured on, as in DETR."""
    crop_size: tuple[Count, Count] = (384, 600)
    """Smallest and largest side of a crop in pixels after `crop_resize`; the crop is then narrowed to the shape of the batch."""
    crop_one_class: Annotated[float, Field(gt=0, le=1)] = 0.75
    """Largest share of a crop's pixels that one class should fill, where labels are masks; other places are tried ten times."""
    min_visible: Share = 0.3
    """Boxes of which a crop or turn shows a smaller share are dropped."""
    photometric: Share = 0.5
    """Strength of the changes of brightness, contrast, saturation and hue; 0 turns them off."""
    views: Count | None = None
    """Ways in which each picture is seen: whole, mirrored if `flip` is above 0, and others drawn once from the changes above, of which a batch shows one; none draws a new one in every epoch."""

    @classmethod
    def expand(cls, value: Any) -> Any:
        """`none` turns every change off, `detr` takes those of DETR."""
        if value in (None, "none", False):
            return UNCHANGED
        return DETR if value == "detr" else value

    @classmethod
    def outdated(cls, old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[str, ...]:
        """Newer sizes take the place of an older jitter, and the other way round."""
        rivals = (("sizes", "scale_jitter"), ("scale_jitter", "sizes"))
        return tuple(o for n, o in rivals if new.get(n) is not None and old.get(o) is not None and o not in new)

    @model_validator(mode="before")
    @classmethod
    def _jitter_rests(cls, value: Any) -> Any:
        """Sizes alone leave nothing to jitter."""
        if isinstance(value, Mapping) and value.get("sizes") is not None:
            return {"scale_jitter": (1, 1), **value}
        return value

    @model_validator(mode="after")
    def _ordered(self) -> "Augmentation":
        for name, what in (("scale_jitter", "factor"), ("crop_aspect", "factor"), ("crop_size", "side")):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name}: the smallest {what} {low} is above the largest {high}; use [{high}, {low}]")
        if self.square_crops and self.crop < 1:
            raise ValueError(
                f"square_crops: pictures that are not cropped (crop: {self.crop:g}) would be stretched; set crop to 1"
            )
        if self.sizes is not None and self.scale_jitter != (1, 1):
            raise ValueError("sizes: they take the place of scale_jitter; leave it out, or set it to [1, 1]")
        return self


def _get(tree: Mapping[str, Any], section: str, key: str) -> Any:
    inner = tree.get(section)
    return inner.get(key) if isinstance(inner, Mapping) else None


class Data(Section):
    """Where pictures and annotations lie, and how they reach the network."""

    takes_text: ClassVar[bool] = True

    root: UserPath | None = None
    """Folder of the data set."""
    format: Literal[
        "auto",
        "coco",
        "voc",
        "yolo",
        "torchvision_json",
        "mask_folder",
        "instance_folder",
        "class_list",
        "image_folder",
        "cifar",
    ] = "auto"
    """Annotation format; `auto` looks at the folder, for what the head learns from, and takes COCO or Pascal VOC where others lie beside it."""
    mask_encoding: Literal["auto", "ids", "ade20k", "ade20k_full", "cityscapes", "voc"] = "auto"
    """What pixels of mask files say: plain `ids` of classes; ADE20K's scene parsing, where class 1 is the first; the full ADE20K's colours; Cityscapes' label ids, of which 19 are classes; Pascal VOC's palette. `auto` tells by the folders and files."""
    ignore_ids: tuple[Annotated[int, Field(strict=True, ge=0)], ...] = (IGNORED_VALUE,)
    """Values of mask files that neither teach nor count, beside those that the data set names unlabelled."""
    train: Split = Split()
    """Explicit paths of the training split."""
    val: Split = Split()
    """Explicit paths of the validation split."""
    test: Split = Split()
    """Explicit paths of the test split."""
    validation_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of the training pictures held out, stratified by class, where the data set has no validation split."""
    resize: Literal["keep_aspect", "square", "middle"] = "keep_aspect"
    """`keep_aspect` puts pictures into aspect-ratio buckets (at most 10 % stretch), `square` stretches, `middle` takes the square in the middle, seven eighths of the shorter side, for classifiers; nothing is ever padded."""
    size: Count = 640
    """Shorter side of the network input in pixels, rounded up to what backbone and head need."""
    max_size: Count | None = None
    """Limit of the longer side in pixels, with which the shorter one shrinks; none is 5/3 of `size`, or of the largest of `augmentation.sizes`."""
    augmentation: Augmentation = Augmentation()
    """Random changes to training pictures; `none` turns all of them off, `detr` takes those of DETR."""
    repeat_rare: Share = 0.0
    """Pictures with a class that fewer than this share of the training pictures show are seen several times per epoch; 0 turns it off."""
    workers: Annotated[int, Field(strict=True, ge=0)] | Literal["auto"] = "auto"
    """Processes that load pictures; `auto` takes the processor's cores less one, at most 8."""
    on_error: Literal["stop", "skip"] = "stop"
    """What broken annotations and pictures do: `stop` ends with a list of them, `skip` goes on without them."""
    max_skipped: Annotated[int, Field(strict=True, ge=0)] = 100
    """Most pictures and annotations that `skip` leaves out of a split before training, and most pictures that may turn out unreadable while training; each is named."""

    @classmethod
    def expand(cls, value: Any) -> Any:
        """A path stands for `root`."""
        return {"root": value} if isinstance(value, str | Path) else value

    @classmethod
    def outdated(cls, old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[str, ...]:
        """Explicit paths of the splits go when another root comes; limits stay."""
        if new.get("root") in (None, old.get("root")):
            return ()
        pairs = [(split, key) for split in ("train", "val", "test") for key in ("images", "annotations")]
        return tuple(f"{s}.{k}" for s, k in pairs if _get(old, s, k) is not None and _get(new, s, k) is None)
