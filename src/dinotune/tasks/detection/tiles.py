"""Large pictures in overlapping tiles: where they lie, and one detection per object from what they show.

Boxes are xyxy pixels of the picture, but for those that a tile's prediction gives.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float, Int64

from dinotune.tasks.detection.best_f1 import overlaps
from dinotune.tasks.detection.detected_boxes import DetectedBoxes

SAME = 0.5
"""IoU from which boxes of two tiles show one object."""
COVERED = 0.7
"""Share of a cut-off box inside a box of another tile from which it is a piece of that object."""
BORDER = 0.02
"""Distance from a tile's inner border, in sides of the tile, at which a box counts as cut off there."""

View = tuple[int, int, int, int]
"""Left, top, right and bottom of a part of the picture, in pixels."""


def tile_views(picture_hw: tuple[int, int], size: int, overlap: float) -> list[View]:
    """Tiles that cover a picture, row by row; neighbours share at least `overlap` of their side.

    The last of a row or column is moved inside. A side shorter than `size` is taken whole.
    """
    height, width = (min(side, size) for side in picture_hw)
    return [
        (left, top, left + width, top + height)
        for top in _starts(picture_hw[0], size, overlap)
        for left in _starts(picture_hw[1], size, overlap)
    ]


def _starts(length: int, size: int, overlap: float) -> list[int]:
    step = max(1, int(size * (1 - overlap)))
    return [*range(0, length - size, step), max(0, length - size)]


def merge_tiles(
    found: Sequence[DetectedBoxes], views: Sequence[View], picture_hw: tuple[int, int], whole: DetectedBoxes
) -> DetectedBoxes:
    """One detection per object, best score first.

    Args:
        found: Detections of each tile, in the tile's pixels.
        views: Where the tiles lie.
        picture_hw: Height and width of the picture.
        whole: Detections of the picture as a whole; only those count that fit into no tile.

    Boxes of one tile and class are different objects, as the model says. Between tiles, plain NMS would keep the
    surer of a whole object and a piece of it, and its IoU does not know the piece for one. So boxes that end at an
    inner border of their tile are dealt with last: one that lies inside a box of another tile is a piece of that
    object and goes; pieces that agree where both their tiles look are united.
    """
    whole = whole.select(~_fits(whole.boxes, np.array(views)))
    rows = DetectedBoxes.concatenate([*map(_shifted, found, views), whole])
    tile_of = np.repeat(np.arange(len(found) + 1), [*map(len, found), len(whole)])
    areas = np.array([*views, (0, 0, picture_hw[1], picture_hw[0])])
    cut = _cut(rows.boxes, areas[tile_of], picture_hw)
    merging = _Merging(rows, tile_of, areas)
    # The tiles show more detail than the whole picture, so they come first.
    order = np.lexsort((-rows.scores, tile_of == len(found)))
    objects = merging.distinct(order[~cut[order]].tolist())
    pieces = merging.uncovered(order[cut[order]].tolist(), objects)
    merged = DetectedBoxes.concatenate([rows.select(np.array(objects, np.int64)), *merging.united(pieces)])
    return merged.select(np.argsort(-merged.scores, kind="stable"))


def _shifted(rows: DetectedBoxes, view: View) -> DetectedBoxes:
    return replace(rows, boxes=rows.boxes + np.tile(view[:2], 2))


def _fits(boxes: Float[np.ndarray, "boxes 4"], views: Int64[np.ndarray, "views 4"]) -> Bool[np.ndarray, "boxes"]:
    """Whether some tile shows the box whole."""
    starts_inside = (boxes[:, None, :2] >= views[None, :, :2]).all(axis=2)
    ends_inside = (boxes[:, None, 2:] <= views[None, :, 2:]).all(axis=2)
    fits: Bool[np.ndarray, "boxes"] = np.any(starts_inside & ends_inside, axis=1)
    return fits


def _cut(
    boxes: Float[np.ndarray, "boxes 4"], views: Int64[np.ndarray, "boxes 4"], picture_hw: tuple[int, int]
) -> Bool[np.ndarray, "boxes"]:
    """Whether each box ends at a border of its tile that is no border of the picture."""
    sides = np.tile(views[:, 2:] - views[:, :2], 2)
    inner = views != np.array([0, 0, picture_hw[1], picture_hw[0]])
    cut: Bool[np.ndarray, "boxes"] = np.any(inner & (np.abs(boxes - views) <= BORDER * sides), axis=1)
    return cut


class _Merging:
    """Detections with the tiles they come from; methods take and give row numbers, best first."""

    def __init__(
        self, rows: DetectedBoxes, tile_of: Int64[np.ndarray, "rows"], areas: Int64[np.ndarray, "tiles 4"]
    ) -> None:
        self.rows = rows
        self.tile_of = tile_of
        self.areas = areas

    def distinct(self, candidates: Sequence[int]) -> list[int]:
        """Candidates without those that show the same object as a better one in another tile."""
        kept = _ByTile(self)
        for row in candidates:
            if self._most(row, kept.rivals(row), share_of_own=False) < SAME:
                kept.add(row)
        return kept.all_rows

    def uncovered(self, pieces: Sequence[int], objects: Sequence[int]) -> list[int]:
        """Pieces that lie in no object of another tile."""
        kept = _ByTile(self)
        for row in objects:
            kept.add(row)
        return [row for row in pieces if self._most(row, kept.rivals(row), share_of_own=True) < COVERED]

    def _most(self, row: int, others: list[int], *, share_of_own: bool) -> float:
        """Largest IoU with the others, or largest share of the row's own area inside one."""
        if not others:
            return 0.0
        boxes = self.rows.boxes
        return float(overlaps(boxes[[row]], boxes[others], np.full(len(others), share_of_own)).max())

    def united(self, pieces: Sequence[int]) -> Iterator[DetectedBoxes]:
        """Pieces that belong together as one box each, with the score of the surest."""
        group_of = {row: row for row in pieces}
        kept = _ByTile(self)
        for row in pieces:
            for other in kept.rivals(row):
                if self._agree(row, other):
                    joined, into = group_of[row], group_of[other]
                    group_of = {piece: into if group == joined else group for piece, group in group_of.items()}
            kept.add(row)
        for group in dict.fromkeys(group_of.values()):
            members = self.rows.select(np.array([row for row in pieces if group_of[row] == group]))
            box = np.concatenate([members.boxes[:, :2].min(axis=0), members.boxes[:, 2:].max(axis=0)])
            best = members.select(np.array([members.scores.argmax()]))
            yield DetectedBoxes(best.image_ids, box[None], best.scores, best.labels)

    def _agree(self, first: int, second: int) -> bool:
        """Whether two boxes look the same in the area that both tiles show."""
        views = self.areas[self.tile_of[[first, second]]]
        low, high = views[:, :2].max(axis=0), views[:, 2:].min(axis=0)
        one, other = np.clip(self.rows.boxes[[first, second]], np.tile(low, 2), np.tile(high, 2))
        return bool(overlaps(one[None], other[None], np.zeros(1, np.bool_)).max() >= SAME)


class _ByTile:
    """Rows by tile and class, so that each is compared with its neighbours only."""

    def __init__(self, merging: _Merging) -> None:
        self.labels, self.tile_of = merging.rows.labels, merging.tile_of
        areas = merging.areas
        meet = (areas[:, None, :2] < areas[None, :, 2:]).all(axis=2)
        meet &= meet.T & ~np.eye(len(areas), dtype=np.bool_)
        self.near = [np.flatnonzero(row).tolist() for row in meet]
        self.rows: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        self.all_rows: list[int] = []

    def add(self, row: int) -> None:
        """Let this row be found."""
        self.rows[int(self.tile_of[row]), int(self.labels[row])].append(row)
        self.all_rows.append(row)

    def rivals(self, row: int) -> list[int]:
        """Rows of the same class in other tiles that share a part of the picture with this row's."""
        label = int(self.labels[row])
        return [other for tile in self.near[self.tile_of[row]] for other in self.rows.get((tile, label), ())]
