"""Validation pictures out of the training pictures, where a data set has none of its own."""

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Int64

from dinotune.data.records import Records
from dinotune.data.subsets import shuffled_by_group
from dinotune.errors import DataError

HOLD_OUT = 1
"""Key that keeps the draws of one seed apart from the subsets' (2)."""

Held = Bool[np.ndarray, "images"]


def hold_out(records: Records, split: str, share: float, seed: int) -> Records:
    """The part of the training pictures that is `train` or `val`; DataError where there is but one picture."""
    if len(records) < 2:
        raise DataError(f"{records.name}: one picture cannot be split into train and val; add pictures")
    held = stratified_share(records, share, np.random.default_rng([seed, HOLD_OUT]))
    note = f"no validation split: {held.sum()} of {len(records)} training pictures held out (seed {seed})"
    chosen = np.flatnonzero(held if split == "val" else ~held)
    return replace(records.select(chosen), notes=(*records.notes, note))


def stratified_share(records: Records, share: float, generator: np.random.Generator) -> Held:
    """Marks about `share` of the pictures (at least one, never all), alike in every class and none of them whole.

    Pictures are put in line by the rarest class they show (those without boxes last), shuffled within a class;
    then every 1/share-th is taken. Where that leaves none of a class, the last of it changes places with the
    nearest in line that its classes can spare.
    """
    images, labels = records.shown_classes()
    classes = len(records.labels) + 1
    frequency = np.bincount(labels, minlength=classes)
    rarest = np.full(len(records), (len(records) + 1) * classes + classes - 1)
    np.minimum.at(rarest, images, frequency[labels] * classes + labels)
    order = shuffled_by_group(records.image_ids, rarest, generator)
    count = int(np.clip(round(len(records) * share), 1, len(records) - 1))
    # A random phase: without it, the same places in line would be taken whatever the seed.
    positions = ((np.arange(count) + generator.random()) * len(records) / count).astype(np.int64)
    held = np.zeros(len(records), np.bool_)
    held[order[positions]] = True
    return _spare_last_ones(records, held, order)


def _spare_last_ones(records: Records, held: Held, order: Int64[np.ndarray, "images"]) -> Held:
    """The same with pictures exchanged until each class has a target outside; as given where that leaves none held."""
    images, labels = records.shown_classes(crowd=False)
    place = np.argsort(order)
    spared = held.copy()
    while True:
        left = np.bincount(labels[~spared[images]], minlength=len(records.labels))
        lost = np.flatnonzero((left == 0) & (np.bincount(labels, minlength=len(left)) > 0))
        if not len(lost):
            break
        showing = images[labels == lost[0]]
        back = showing[place[showing].argmin()]
        spared[back] = False
        left[labels[images == back]] += 1
        free = ~spared
        free[images[left[labels] <= 1]] = False
        if free.any():
            nearest = np.flatnonzero(free)
            spared[nearest[np.abs(place[nearest] - place[back]).argmin()]] = True
    return spared if spared.any() else held
