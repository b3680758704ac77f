"""Settings of the prediction on pictures and videos."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from dinotune.config.base import Count, Share, Switch
from dinotune.config.command_options import CommandOptions


def _listed(value: Any) -> Any:
    return [word.strip() for word in value.split(",")] if isinstance(value, str) else value


class Prediction(CommandOptions):
    """How a trained model predicts, and what is written about it."""

    threshold: Share | None = None
    """Lowest score that counts; none takes what suits the task: each class's best-F1 score, stored with a detector, or all classes of a classifier."""
    tiles: Count | None = None
    """Cut larger pictures into overlapping tiles of this many pixels; none predicts on them whole."""
    overlap: Annotated[float, Field(ge=0, le=0.9)] = 0.2
    """Share of a tile that its neighbour sees too; objects up to that size are whole in one of them."""
    whole: Switch = True
    """Beside the tiles, look at the whole picture for objects larger than any tile."""
    batch_size: Count = 8
    """Pictures, tiles or frames per step of the network."""
    every: Count = 1
    """Of videos, take every frame whose number is a multiple of this."""
    write: Annotated[
        tuple[Literal["json", "pictures", "yolo", "coco", "csv", "masks"], ...],
        BeforeValidator(_listed),
        Field(min_length=1),
    ] = ("json", "pictures")
    """What to write, with commas between: `json` (predictions), `pictures` (drawn, or the video), `yolo` and `coco` (boxes as labels to correct by hand), `csv` (classes), `masks` (a class per pixel, as PNG)."""
