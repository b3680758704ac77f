"""Pictures with the classes of their pixels laid over, above the names of those that are seen."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int16
from PIL import Image, ImageDraw, ImageFont

from dinotune.config.tasks import BACKGROUND, IGNORED
from dinotune.tasks.colours import class_colour
from dinotune.tasks.drawings import enlargement, side_by_side

OPACITY = 0.5
LINE = 22
MOST_NAMED = 12
"""Classes in a legend, those with the most pixels."""


def draw_classes(image: Image.Image, classes: Int16[np.ndarray, "height width"], names: Sequence[str]) -> Image.Image:
    """A copy of the picture with colours over its pixels and a legend below.

    Pixels without a class keep their colours, as do those of class 0 where that is a background.
    """
    factor = enlargement(image)
    pixels = np.asarray(image.convert("RGB"), np.float32)
    palette = np.array([(0, 0, 0), *(class_colour(label) for label in range(len(names)))], np.float32)
    covered = classes != IGNORED
    if names[0].lower() == BACKGROUND:
        covered &= classes != 0
    weight = OPACITY * covered[..., None]
    mixed = pixels * (1 - weight) + palette[classes.astype(np.int64) - IGNORED] * weight
    canvas = Image.fromarray(mixed.round().astype(np.uint8))
    canvas = canvas.resize((canvas.width * factor, canvas.height * factor), Image.Resampling.NEAREST)
    return _with_legend(canvas, classes[covered], names)


def draw_comparison(
    image: Image.Image,
    truth: Int16[np.ndarray, "height width"],
    answered: Int16[np.ndarray, "height width"],
    names: Sequence[str],
) -> Image.Image:
    """Truth on the left, answer on the right."""
    return side_by_side(draw_classes(image, truth, names), draw_classes(image, answered, names))


def _with_legend(canvas: Image.Image, shown: Int16[np.ndarray, "pixels"], names: Sequence[str]) -> Image.Image:
    counts = np.bincount(shown, minlength=len(names))
    ranked = [label for label in np.argsort(-counts, kind="stable")[:MOST_NAMED].tolist() if counts[label]]
    # As high for every picture: all frames of a video have one size.
    longer = Image.new("RGB", (canvas.width, canvas.height + LINE * min(len(names), MOST_NAMED)), "white")
    longer.paste(canvas, (0, 0))
    draw, font = ImageDraw.Draw(longer), ImageFont.load_default(LINE * 0.65)
    for row, label in enumerate(ranked):
        top = canvas.height + row * LINE
        draw.rectangle((4, top + 4, LINE - 4, top + LINE - 4), fill=class_colour(label))
        draw.text((LINE + 4, top + 2), names[label], (0, 0, 0), font)
    return longer
