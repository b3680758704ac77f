"""Colours of classes in drawn pictures."""

import colorsys

GOLDEN_RATIO = 0.618034


def class_colour(class_id: int) -> tuple[int, int, int]:
    """RGB of a class: hues a golden ratio of the circle apart, so that neighbours differ for any number of classes."""
    hue = (0.02 + class_id * GOLDEN_RATIO) % 1
    lightness = (0.52, 0.42, 0.62)[class_id // 8 % 3]
    red, green, blue = colorsys.hls_to_rgb(hue, lightness, 0.85)
    return round(255 * red), round(255 * green), round(255 * blue)
