"""Tells boxes that were written by another convention than the format's: corners for sides, shares for pixels.

One such box is a slip of its own; here all boxes of a split are looked at together.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64

from dinotune.data.problems import Findings, Kind

FEWEST_BOXES = 5
"""Fewer prove nothing."""

SUSPICIOUS, CONVINCING = 0.2, 0.98
"""Shares of boxes that must be impossible as written, and possible by the other convention: slips occur there too."""

SLACK_PIXELS = 1.0
"""Rounding that boxes may reach beyond a picture."""


@dataclass
class WrittenBoxes:
    """All boxes of a split as its file has them, four pixel values each, with height and width of their pictures."""

    boxes: list[Float64[np.ndarray, "objects 4"]] = field(default_factory=list)
    sizes_hw: list[tuple[int, int]] = field(default_factory=list)

    def add(self, boxes: Float64[np.ndarray, "objects 4"], hw: tuple[int, int]) -> None:
        """Take the boxes of one picture; they are copied."""
        self.boxes.append(boxes.copy())
        self.sizes_hw.append(hw)

    def check_sides(self, file: Path, findings: Findings) -> None:
        """For formats of x, y, width, height: find corners or shares in their place."""
        boxes, limits = self._columns()
        if _all_shares(boxes, limits):
            message = f"all {len(boxes)} boxes lie within 0 and 1; multiply x and width by the picture's width, y and height by its height"
            findings.add(Kind.SHARES_AS_PIXELS, file, message)
            return
        beyond = ~_inside(boxes[:, :2] + boxes[:, 2:], limits)
        if _contradicted(beyond, _positive(boxes[:, 2:] - boxes[:, :2]) & _inside(boxes[:, 2:], limits)):
            message = (
                f"{beyond.sum()} of {len(boxes)} boxes reach beyond their pictures as x, y, width, height, but fit "
                "as x1, y1, x2, y2; write x2 - x1 and y2 - y1 for the last two values"
            )
            findings.add(Kind.CORNERS_AS_SIDES, file, message)

    def check_corners(self, file: Path, findings: Findings) -> None:
        """For formats of x1, y1, x2, y2: find width and height, or shares, in their place."""
        boxes, limits = self._columns()
        if _all_shares(boxes, limits):
            message = (
                f"all {len(boxes)} boxes lie within 0 and 1; multiply x by the picture's width and y by its height"
            )
            findings.add(Kind.SHARES_AS_PIXELS, file, message)
            return
        turned = ~_positive(boxes[:, 2:] - boxes[:, :2] + 1)  # both corners may be the same pixel
        if _contradicted(turned, _positive(boxes[:, 2:]) & _inside(boxes[:, :2] + boxes[:, 2:], limits)):
            message = (
                f"{turned.sum()} of {len(boxes)} boxes end before they begin as x1, y1, x2, y2, but fit as "
                "x, y, width, height; write x + width and y + height for the last two values"
            )
            findings.add(Kind.SIDES_AS_CORNERS, file, message)

    def _columns(self) -> tuple[Float64[np.ndarray, "objects 4"], Float64[np.ndarray, "objects 2"]]:
        """Boxes, and width and height of the picture of each."""
        boxes = np.concatenate([np.empty((0, 4)), *self.boxes])
        counts = [len(boxes) for boxes in self.boxes]
        return boxes, np.repeat(np.array(self.sizes_hw, np.float64).reshape(-1, 2)[:, ::-1], counts, axis=0)


def _contradicted(impossible: Bool[np.ndarray, "objects"], fits_otherwise: Bool[np.ndarray, "objects"]) -> bool:
    enough = len(impossible) >= FEWEST_BOXES and impossible.mean() >= SUSPICIOUS
    return bool(enough and fits_otherwise.mean() >= CONVINCING)


def _positive(sides: Float64[np.ndarray, "objects 2"]) -> Bool[np.ndarray, "objects"]:
    return (sides[:, 0] > 0) & (sides[:, 1] > 0)


def _inside(
    far: Float64[np.ndarray, "objects 2"], limits: Float64[np.ndarray, "objects 2"]
) -> Bool[np.ndarray, "objects"]:
    fits = far <= limits + SLACK_PIXELS
    return fits[:, 0] & fits[:, 1]


def _all_shares(boxes: Float64[np.ndarray, "objects 4"], limits: Float64[np.ndarray, "objects 2"]) -> bool:
    if len(boxes) < FEWEST_BOXES:
        return False
    return bool((boxes >= 0).all() and (boxes <= 1).all() and (limits > 4).all())
