"""One picture of textured shapes on clutter: discs, squares and triangles whose outline alone tells the class.

Every picture comes from a generator of its own, so it does not depend on how many others are drawn.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8
from PIL import Image, ImageDraw

SHAPE_CLASSES = ("disc", "square", "triangle")
CORNERS = (90, 4, 3)
"""Polygon corners of each class; 90 make a disc that is round to a tenth of a pixel."""
RELATIVE_RADIUS = (1.0, 1.15, 1.3)
"""Circumradius of each class for about equal looks; extents end between 20 and 70 pixels."""
RADIUS_RANGE = (12.0, 29.0)
OBJECT_COUNT_SHARES = (0.08, 0.17, 0.23, 0.21, 0.15, 0.10, 0.06)
"""Share of the pictures with 0, 1, ... 6 objects."""
MIN_VISIBLE = 0.75
"""Least visible share of each object; one that breaks this, for itself or another, is drawn elsewhere."""
MIN_INSIDE = 0.92
"""Least share inside the picture: a triangle without its tips could not be told from a square."""
SUPERSAMPLING = 4
PLACEMENT_TRIES = 40

Colour = Float64[np.ndarray, "3"]
Field = Float64[np.ndarray, "height width"]


@dataclass(frozen=True)
class ShapePicture:
    """A drawn picture with its truth; masks are what remains visible of each object."""

    image: UInt8[np.ndarray, "height width 3"]
    labels: Int64[np.ndarray, "objects"]
    masks: Bool[np.ndarray, "objects height width"]

    @property
    def boxes(self) -> Int64[np.ndarray, "objects 4"]:
        """Tight xyxy pixel extents of the visible masks."""
        boxes = np.zeros((len(self.masks), 4), np.int64)
        for row, mask in enumerate(self.masks):
            (ys,), (xs,) = np.nonzero(mask.any(axis=1)), np.nonzero(mask.any(axis=0))
            boxes[row] = xs[0], ys[0], xs[-1] + 1, ys[-1] + 1
        return boxes


def draw_shape_picture(rng: np.random.Generator, size_hw: tuple[int, int]) -> ShapePicture:
    """Draw 0 to 6 shapes over each other on clutter; later ones cover earlier ones."""
    canvas = draw_clutter(rng, size_hw)
    count = int(rng.choice(len(OBJECT_COUNT_SHARES), p=OBJECT_COUNT_SHARES))
    labels: list[int] = []
    masks: list[Bool[np.ndarray, "height width"]] = []
    areas: list[float] = []
    for _ in range(count):
        label, outline = draw_outline(rng)
        for _ in range(PLACEMENT_TRIES):
            corners = outline + rng.uniform((0, 0), (size_hw[1], size_hw[0]))
            cover = fill(corners, size_hw)
            mask, area = cover >= 0.5, polygon_area(corners)
            left = [earlier & ~mask for earlier in masks]
            visible = all(part.sum() >= MIN_VISIBLE * full for part, full in zip(left, areas, strict=True))
            if visible and mask.sum() >= MIN_INSIDE * area:
                paint(rng, canvas, corners, cover)
                labels, masks, areas = [*labels, label], [*left, mask], [*areas, area]
                break
    return ShapePicture(
        image=canvas.round().clip(0, 255).astype(np.uint8),
        labels=np.array(labels, np.int64),
        masks=np.array(masks, np.bool_).reshape(-1, *size_hw),
    )


def draw_outline(rng: np.random.Generator) -> tuple[int, Float64[np.ndarray, "corners 2"]]:
    """A random class and its polygon around the origin, xy pixels, of a random size and angle."""
    label = int(rng.integers(len(SHAPE_CLASSES)))
    low, high = np.log(RADIUS_RANGE)
    radius = RELATIVE_RADIUS[label] * np.exp(rng.uniform(low, high))
    angles = rng.uniform(0, 2 * np.pi) + np.arange(CORNERS[label]) * 2 * np.pi / CORNERS[label]
    return label, radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def polygon_area(corners: Float64[np.ndarray, "corners 2"]) -> float:
    """Area in square pixels (shoelace formula)."""
    x, y = corners.T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


def fill(corners: Float64[np.ndarray, "corners 2"], size_hw: tuple[int, int], edge: float = 0.0) -> Field:
    """Share of each pixel that lies inside the polygon, or within half of `edge` pixels of its outline."""
    height, width = size_hw
    sheet = Image.new("L", (width * SUPERSAMPLING, height * SUPERSAMPLING))
    # Pillow counts coordinates from pixel centres.
    points = [(x * SUPERSAMPLING - 0.5, y * SUPERSAMPLING - 0.5) for x, y in corners.tolist()]
    if edge:
        ImageDraw.Draw(sheet).line([*points, *points[:2]], fill=255, width=round(edge * SUPERSAMPLING), joint="curve")
    else:
        ImageDraw.Draw(sheet).polygon(points, fill=255)
    return np.asarray(sheet.reduce(SUPERSAMPLING), np.float64) / 255


def paint(
    rng: np.random.Generator,
    canvas: Float64[np.ndarray, "height width 3"],
    corners: Float64[np.ndarray, "corners 2"],
    cover: Field,
) -> None:
    """Lay one textured shape over the canvas, in colours that stand out from what lies below."""
    size_hw = (canvas.shape[0], canvas.shape[1])
    below = canvas[cover >= 0.5].mean(axis=0)
    first = contrasting_colour(rng, [below])
    second = contrasting_colour(rng, [below, first])
    texture = TEXTURES[int(rng.integers(len(TEXTURES)))](rng, size_hw)[..., None]
    surface = first * (1 - texture) + second * texture
    surface = surface * (1 + 0.12 * ramp(rng, size_hw))[..., None]
    edge = fill(corners, size_hw, edge=rng.uniform(1.5, 2.5))[..., None]
    surface = surface * (1 - edge * rng.uniform(0.3, 0.65))
    canvas += (surface - canvas) * cover[..., None]


def draw_clutter(rng: np.random.Generator, size_hw: tuple[int, int]) -> Float64[np.ndarray, "height width 3"]:
    """A muted gradient with soft patches, faint blobs, lines and grain; nothing with a closed sharp outline."""
    height, width = size_hw
    start, end = muted_colour(rng), muted_colour(rng)
    blend = (ramp(rng, size_hw) / 2 + 0.5)[..., None]
    canvas = start * (1 - blend) + end * blend
    canvas = canvas + rng.uniform(10, 28) * (smooth_noise(rng, size_hw, rng.uniform(18, 40))[..., None] - 0.5)
    ys, xs = np.mgrid[:height, :width] + 0.5
    for _ in range(int(rng.integers(2, 7))):
        y, x, spread = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(5, 16)
        stretch = rng.uniform(0.5, 2)
        blob = np.exp(-(((xs - x) / stretch) ** 2 + ((ys - y) * stretch) ** 2) / (2 * spread**2))
        canvas = canvas + blob[..., None] * rng.uniform(-34, 34, 3)
    for _ in range(int(rng.integers(3, 9))):
        bend = rng.uniform((0, 0), (width, height), (3, 2))
        t = np.linspace(-0.5, 1.5, 24)[:, None]
        curve = bend[0] * (1 - t) ** 2 + 2 * bend[1] * t * (1 - t) + bend[2] * t**2
        stroke = draw_stroke(curve, size_hw, rng.uniform(1, 2.6)) * rng.uniform(0.15, 0.5)
        canvas = canvas + stroke[..., None] * (muted_colour(rng) - canvas)
    return canvas + rng.normal(0, rng.uniform(1.5, 5), (height, width, 1)) + rng.normal(0, 1.5, (height, width, 3))


def draw_stroke(points: Float64[np.ndarray, "points 2"], size_hw: tuple[int, int], thickness: float) -> Field:
    """Share of each pixel under an open line through the points (xy pixels)."""
    sheet = Image.new("L", (size_hw[1] * SUPERSAMPLING, size_hw[0] * SUPERSAMPLING))
    path = [(x * SUPERSAMPLING, y * SUPERSAMPLING) for x, y in points.tolist()]
    ImageDraw.Draw(sheet).line(path, fill=255, width=round(thickness * SUPERSAMPLING), joint="curve")
    return np.asarray(sheet.reduce(SUPERSAMPLING), np.float64) / 255


def muted_colour(rng: np.random.Generator) -> Colour:
    """A greyish colour of any brightness, 0 to 255."""
    grey = rng.uniform(55, 215)
    return grey + rng.uniform(-24, 24, 3)


def contrasting_colour(rng: np.random.Generator, others: list[Colour], distance: float = 95.0) -> Colour:
    """A lively colour at least `distance` away (RGB, 0 to 255) from the others; the farthest of 40 if none is."""
    candidates = rng.uniform(15, 240, (40, 3))
    lively = candidates + 0.35 * (candidates - candidates.mean(axis=1, keepdims=True))
    apart = np.linalg.norm(lively[:, None].clip(0, 255) - np.stack(others), axis=2).min(axis=1)
    chosen = int((apart >= distance).argmax()) if (apart >= distance).any() else int(apart.argmax())
    colour: Colour = lively[chosen].clip(0, 255)
    return colour


def ramp(rng: np.random.Generator, size_hw: tuple[int, int]) -> Field:
    """A linear field from -1 to 1 across the picture in a random direction."""
    height, width = size_hw
    angle = rng.uniform(0, 2 * np.pi)
    ys, xs = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    field: Field = (xs * np.cos(angle) + ys * np.sin(angle)) / (abs(np.cos(angle)) + abs(np.sin(angle)))
    return field


def smooth_noise(rng: np.random.Generator, size_hw: tuple[int, int], cell: float) -> Field:
    """Random values 0 to 1 on cells of so many pixels, interpolated between them."""
    height, width = size_hw
    grid = rng.random((round(height / cell) + 2, round(width / cell) + 2)).astype(np.float32)
    return np.asarray(Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC), np.float64)


def turned_grid(rng: np.random.Generator, size_hw: tuple[int, int], period: float) -> tuple[Field, Field]:
    """Two perpendicular coordinates in periods, turned and shifted at random."""
    height, width = size_hw
    ys, xs = np.mgrid[:height, :width] / period
    angle = rng.uniform(0, np.pi)
    along = xs * np.cos(angle) + ys * np.sin(angle) + rng.random()
    across = ys * np.cos(angle) - xs * np.sin(angle) + rng.random()
    return along, across


def plain(rng: np.random.Generator, size_hw: tuple[int, int]) -> Field:
    """A single colour with a slight mottle."""
    return 0.25 * smooth_noise(rng, size_hw, 7)


def stripes(rng: np.random.Generator, size_hw: tuple[int, int]) -> Field:
    """Parallel bands of two colours."""
    along, _ = turned_grid(rng, size_hw, rng.uniform(6, 12))
    field: Field = 0.5 + 0.5 * np.tanh(4 * np.sin(2 * np.pi * along))
    return field


def dots(rng: np.random.Generator, size_hw: tuple[int, int]) -> Field:
    """Small round dots on a square lattice; far smaller than any disc."""
    along, across = turned_grid(rng, size_hw, period := rng.uniform(6.5, 10))
    distance = np.hypot(along % 1 - 0.5, across % 1 - 0.5) * period
    field: Field = (0.5 + rng.uniform(0.24, 0.34) * period - distance).clip(0, 1)
    return field


def marble(rng: np.random.Generator, size_hw: tuple[int, int]) -> Field:
    """Blotches of two colours."""
    return 0.5 + 0.5 * np.tanh(7 * (smooth_noise(rng, size_hw, rng.uniform(4, 8)) - 0.5))


TEXTURES: tuple[Callable[[np.random.Generator, tuple[int, int]], Field], ...] = (plain, stripes, dots, marble)
