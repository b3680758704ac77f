"""Pictures with their detections drawn in, by supervision's annotators; sizes follow the picture."""

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import numpy as np
from PIL import Image

from dinotune.tasks.colours import class_colour
from dinotune.tasks.drawings import enlargement, side_by_side

if TYPE_CHECKING:
    import supervision

CROWDED = 25
"""From so many boxes on, text is smaller."""


def draw_detections(image: Image.Image, detections: "supervision.Detections", *, scores: bool = True) -> Image.Image:
    """A copy of the picture with boxes, class names and scores; a class has the same colour in every picture.

    Boxes are xyxy pixels of the picture. Names come from `detections.data["class_name"]` where present.
    Small pictures come back enlarged (see `drawings.SMALLEST_SIDE`).
    """
    import supervision as sv

    canvas = image.convert("RGB")
    factor = enlargement(canvas)
    if factor > 1:
        canvas = canvas.resize((canvas.width * factor, canvas.height * factor), Image.Resampling.BICUBIC)
    if not len(detections):
        return canvas
    class_ids = np.zeros(len(detections), np.int64) if detections.class_id is None else detections.class_id
    masks = (
        None if detections.mask is None else np.asarray(detections.mask, np.bool_).repeat(factor, 1).repeat(factor, 2)
    )
    shown = replace(detections, xyxy=detections.xyxy * factor, class_id=class_ids, mask=masks)
    side = max(canvas.size)
    font_size = max(10, round(side / (70 if len(detections) >= CROWDED else 45)))
    padding = max(2, round(side / 300))
    classes = 1 + int(class_ids.max())
    # A label above a box at the upper edge would lie outside the picture: it goes into the box instead.
    at_top = shown.xyxy[:, 1] < font_size + 2 * padding
    texts = np.array(_texts(detections, scores))
    if masks is not None:
        canvas = sv.MaskAnnotator(color=_palette(classes)).annotate(canvas, shown)
    canvas = sv.BoxAnnotator(color=_palette(classes), thickness=max(2, round(side / 400))).annotate(canvas, shown)
    for rows, offset in ((~at_top, 0), (at_top, font_size + 2 * padding)):
        labels = sv.RichLabelAnnotator(
            color=_palette(classes),
            text_color=_text_palette(classes),
            font_size=font_size,
            text_padding=padding,
            text_offset=(0, offset),
        )
        canvas = labels.annotate(canvas, cast("supervision.Detections", shown[rows]), labels=texts[rows].tolist())
    return canvas


def draw_comparison(
    image: Image.Image, truth: "supervision.Detections", predicted: "supervision.Detections"
) -> Image.Image:
    """Truth on the left, prediction on the right, side by side."""
    return side_by_side(draw_detections(image, truth, scores=False), draw_detections(image, predicted))


def _palette(classes: int) -> "supervision.ColorPalette":
    import supervision as sv

    return sv.ColorPalette([sv.Color(*class_colour(class_id)) for class_id in range(classes)])


def _text_palette(classes: int) -> "supervision.ColorPalette":
    """Black on bright colours, white on dark ones (Rec. 601 luma)."""
    import supervision as sv

    luma = [0.299 * red + 0.587 * green + 0.114 * blue for red, green, blue in map(class_colour, range(classes))]
    return sv.ColorPalette([sv.Color.BLACK if value > 140 else sv.Color.WHITE for value in luma])


def _texts(detections: "supervision.Detections", scores: bool) -> list[str]:
    count = len(detections)
    names = detections.data.get("class_name")
    if names is None:
        names = [""] * count if detections.class_id is None else [str(label) for label in detections.class_id]
    if not scores or detections.confidence is None:
        return [str(name) for name in names]
    return [f"{name} {score:.2f}".strip() for name, score in zip(names, detections.confidence, strict=True)]
