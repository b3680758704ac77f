"""Settings of the data: where it lies, how it is split, resized and augmented."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from dinotune.config.base import Count, PositiveFloat, Section, Share, UserPath


class Split(Section):
    """Explicit place of one split, beside or instead of `data.root`, and how much of it is used."""

    images: UserPath | None = None
    """Folder of the pictures; none takes the format's usual folder below `data.root`."""
    annotations: UserPath | None = None
    """Annotation file (COCO) or folder (Pascal VOC); none takes the format's usual place below `data.root`."""
    limit: Count | None = None
    """Use only this many pictures, drawn with `seed` among those that have boxes."""


class Augmentation(Section):
    """Random changes to training pictures; every draw depends on seed, epoch and picture alone."""

    flip: Share = 0.5
    """Probability of a horizontal flip."""
    scale_jitter: tuple[PositiveFloat, PositiveFloat] = (0.8, 1.2)
    """Smallest and largest factor on the network size, drawn once per batch."""
    crop: Share = 0.5
    """Probability of a random crop that keeps the shape of the batch."""
    crop_min_side: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Smallest side of a crop as a share of the largest crop of that shape."""
    min_visible: Share = 0.3
    """Boxes of which a crop shows a smaller share are dropped."""
    photometric: Share = 0.5
    """Strength of the changes of brightness, contrast, saturation and hue; 0 turns them off."""

    @classmethod
    def expand(cls, value: Any) -> Any:
        """`none` turns every change off."""
        if value in (None, "none", False):
            return {"flip": 0, "scale_jitter": (1, 1), "crop": 0, "photometric": 0}
        return value

    @model_validator(mode="after")
    def _ordered(self) -> "Augmentation":
        low, high = self.scale_jitter
        if low > high:
            raise ValueError(
                f"scale_jitter: the smallest factor {low} is above the largest {high}; use [{high}, {low}]"
            )
        return self


def _get(tree: Mapping[str, Any], section: str, key: str) -> Any:
    inner = tree.get(section)
    return inner.get(key) if isinstance(inner, Mapping) else None


class Data(Section):
    """Where pictures and annotations lie, and how they reach the network."""

    takes_text: ClassVar[bool] = True

    root: UserPath | None = None
    """Folder of the data set."""
    format: Literal["auto", "coco", "voc"] = "auto"
    """Annotation format; `auto` looks at the folder."""
    train: Split = Split()
    """Explicit paths of the training split."""
    val: Split = Split()
    """Explicit paths of the validation split."""
    test: Split = Split()
    """Explicit paths of the test split."""
    validation_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of the training pictures held out, stratified by class, where the data set has no validation split."""
    resize: Literal["keep_aspect", "square"] = "keep_aspect"
    """`keep_aspect` puts pictures into aspect-ratio buckets (at most 10 % stretch), `square` stretches; nothing is ever padded."""
    size: Count = 640
    """Shorter side of the network input in pixels, rounded up to what backbone and head need."""
    max_size: Count | None = None
    """Limit of the longer side in pixels, with which the shorter one shrinks; none is 5/3 of `size`."""
    augmentation: Augmentation = Augmentation()
    """Random changes to training pictures; `none` turns all of them off."""
    workers: Annotated[int, Field(strict=True, ge=0)] | Literal["auto"] = "auto"
    """Processes that load pictures; `auto` takes the processor's cores less one, at most 8."""
    on_error: Literal["stop", "skip"] = "stop"
    """What broken annotations and pictures do: `stop` ends with a list of them, `skip` goes on without them."""
    max_skipped: Annotated[int, Field(strict=True, ge=0)] = 100
    """Most pictures and annotations of a split that `skip` leaves out, and most pictures that may turn out unreadable while training; each is named."""

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
