"""Every split of a data set, read with whatever another format can hold of it."""

import os
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from dinotune import config
from dinotune.config.tasks import LabelKind
from dinotune.data import formats
from dinotune.data.checks.masks import look_at_mask
from dinotune.data.formats.base import SplitPlace
from dinotune.data.needs import as_needed
from dinotune.data.problems import Findings
from dinotune.data.records import LabelSet, Records
from dinotune.data.splits import apply_on_error
from dinotune.data.subsets import choose
from dinotune.errors import DataError

MOST_THREADS = 8


def writable(kinds: Collection[LabelKind]) -> list[str]:
    """Formats that can be written and hold such labels."""
    return [name for name in formats.WRITERS if formats.HOLDS[name] in kinds]


def read_splits(
    experiment: config.Experiment, kind: str, places: Mapping[str, SplitPlace], to: str
) -> dict[str, Records]:
    """All splits that are there, with the classes of the first and the masks of objects; nothing is held out."""
    data, needs = experiment.data, formats.HOLDS[to]
    splits: dict[str, Records] = {}
    labels: LabelSet | None = None
    for split, place in places.items():
        findings = Findings()
        name = f"{data.root.resolve().name} {split}" if data.root else split
        try:
            with_masks = replace(place, masks=replace(place.masks, wanted=True))
            records = as_needed(formats.READERS[kind](with_masks, name, labels, findings), needs)
            records = choose(records, getattr(data, split), dataset=records, key=f"data.{split}", seed=experiment.seed)
            records = _without_broken_masks(records, findings)
        except DataError:
            apply_on_error(data, findings, split, labels)  # what left too little to read comes first
            raise
        apply_on_error(data, findings, split, labels)
        if needs in ("semantic_masks", "instance_masks") and records.has != needs:
            raise DataError(f"{name}: no object has a mask, which {to} needs; --to {', '.join(writable(['boxes']))}")
        splits[split] = replace(records, notes=(*findings.notes(), *records.notes))
        labels = records.labels
    return splits


def _without_broken_masks(records: Records, findings: Findings) -> Records:
    """The pictures whose mask of classes can be read; the others go into `findings`."""
    if records.mask_files is None:
        return records
    images = [records[index] for index in range(len(records))]
    masks = [image.mask for image in images if image.mask is not None]
    with ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1)) as pool:
        looks = list(pool.map(look_at_mask, masks, [(image.height, image.width) for image in images]))
    for mask, look in zip(masks, looks, strict=True):
        if look.problem is not None:
            findings.add(look.problem[0], mask.path, look.problem[1])
    readable = np.array([look.pixels is not None for look in looks])
    if not readable.any():
        raise DataError(f"{records.name}: no mask can be read")
    return records.select(np.flatnonzero(readable))
