"""A picture with its classes written below it."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

SIDE = 480
"""Width of what is drawn in pixels."""
LINE = 28
SHOWN = 3
"""Classes that are written, best first."""
RIGHT, WRONG, PLAIN = (0, 128, 0), (192, 0, 0), (0, 0, 0)


def draw_classes(image: Image.Image, answers: Sequence[tuple[str, float]], true: str | None = None) -> Image.Image:
    """A copy of the picture, `SIDE` wide, above its best classes with their scores.

    With the true class, the best answer is green where it is right and red where not, and the truth follows.
    """
    picture = image.convert("RGB").resize((SIDE, max(1, round(image.height * SIDE / image.width))))
    lines = [(f"{name} {score:.2f}", PLAIN) for name, score in answers[:SHOWN]]
    if true is not None:
        lines[0] = (lines[0][0], RIGHT if answers[0][0] == true else WRONG)
        lines.append((f"truth: {true}", PLAIN))
    canvas = Image.new("RGB", (SIDE, picture.height + LINE * len(lines) + LINE // 2), "white")
    canvas.paste(picture, (0, 0))
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(LINE * 0.7)
    for number, (text, colour) in enumerate(lines):
        draw.text((LINE // 2, picture.height + LINE // 4 + number * LINE), text, colour, font)
    return canvas
