"""Labels as a head needs them, where a data set's own can stand for others."""

from dataclasses import replace

import numpy as np
from jaxtyping import Bool

from dinotune.config.tasks import BACKGROUND, LabelKind
from dinotune.data.problems import counted
from dinotune.data.records import LabelSet, Records
from dinotune.errors import DataError


def as_needed(records: Records, needs: LabelKind | None, wanted: LabelSet | None = None) -> Records:
    """Objects with masks as `instance_masks`, or painted as `semantic_masks` behind the class `BACKGROUND`.

    Objects without a mask are left out, or painted as pixels of no class, which a note says. All other records come
    back as they are. `wanted` are the classes of a model, to which those of the records were matched.

    Raises:
        DataError: painted objects need the class `BACKGROUND` before all others, and the classes have it elsewhere, or
            the model has none.
    """
    if records.has != "boxes" or records.segments is None or needs not in ("instance_masks", "semantic_masks"):
        return records
    masked = records.segments.present
    if not masked.any():
        return replace(records, segments=None)
    if needs == "semantic_masks":
        _check_background(records, wanted)
        records = _painted(records)
    else:
        records = replace(records if masked.all() else _chosen(records, masked), has="instance_masks")
    if masked.all():
        return records
    bare = counted(int((~masked).sum()), "object")
    fate = "left out" if needs == "instance_masks" else "painted as a box that is ignored"
    return replace(records, notes=(*records.notes, f"{bare} without a mask {fate}"))


def _chosen(records: Records, keep: Bool[np.ndarray, "objects"]) -> Records:
    """All pictures with only these objects."""
    assert records.segments is not None
    counts = np.concatenate([[0], np.cumsum(keep)])[records.offsets]
    return replace(
        records,
        offsets=counts.astype(np.int64),
        boxes=records.boxes[keep],
        box_labels=records.box_labels[keep],
        crowd=records.crowd[keep],
        areas=records.areas[keep],
        segments=records.segments.select(np.flatnonzero(keep)),
    )


def _check_background(records: Records, wanted: LabelSet | None) -> None:
    names = records.labels.names
    if BACKGROUND in names[1:]:
        raise DataError(f"{records.name}: class {BACKGROUND} is number {names.index(BACKGROUND)}; it must be the first")
    if wanted is not None and names[0] != BACKGROUND:
        raise DataError(
            f"{records.name}: its masks are painted on a {BACKGROUND}, which the model does not know; "
            "use a data set with mask files"
        )


def _painted(records: Records) -> Records:
    labels = records.labels
    if labels.names[0] == BACKGROUND:  # classes of a model that was trained so
        return replace(records, has="semantic_masks")
    free = 0 if 0 not in labels.ids else max(labels.ids) + 1
    behind = LabelSet((BACKGROUND, *labels.names), (free, *labels.ids))
    return replace(records, labels=behind, box_labels=records.box_labels + 1, has="semantic_masks")
