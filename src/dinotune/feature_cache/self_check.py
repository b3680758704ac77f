"""Self-check: some kept views are computed again and compared, so that no run trains on features of something else."""

import random

import torch
from torch import Tensor

from dinotune.data.loader import Pictures
from dinotune.errors import DinotuneError
from dinotune.feature_cache.filling import Filler
from dinotune.feature_cache.store import Store, key_of
from dinotune.types import Cut, Targets

CHECKED = 2
"""Views that are computed again."""

LARGEST_ERROR = 0.05
"""As a share of the values' root mean square in each channel, on average: integers and bfloat16 stay below .01, other
views and weights are above .3."""


def check(store: Store, filler: Filler) -> None:
    """Compute two views anew, taken anywhere.

    Raises:
        DinotuneError: they, or their labels, are not what is kept.
    """
    there = [draw for draw in filler.draws if key_of(draw, filler.records) in store]
    pictures = Pictures(filler.records, filler.experiment.data, training=filler.training)
    for draw in random.Random().sample(there, min(CHECKED, len(there))):
        batch = pictures.__getitems__([draw])
        if not len(batch):
            continue
        error = _difference((filler.cut_of(batch), batch.targets), store.read([key_of(draw, filler.records)]))
        if not error <= LARGEST_ERROR:
            raise DinotuneError(
                f"{store.folder}: the features kept of {batch.paths[0]} (view {draw.view}) are not those that the "
                f"backbone gives now (they differ by {error:.0%}); remove the folder, and they are computed anew"
            )


def _difference(live: tuple[Cut, Targets], kept: tuple[Cut, Targets]) -> float:
    """The largest error of a view's tensors; 1 where others are kept, or other labels."""
    (cut, targets), (kept_cut, kept_targets) = live, kept
    labels = zip(_labels(targets), _labels(kept_targets), strict=True)
    if not all(_same(own, other) for own, other in labels) or cut.tensors.keys() != kept_cut.tensors.keys():
        return 1.0
    pairs = ((tensor[0].cpu(), kept_cut.tensors[name][0]) for name, tensor in cut.tensors.items())
    return max((_error(own, other) for own, other in pairs), default=0.0)


def _labels(targets: Targets) -> tuple[Tensor | None, ...]:
    """What is kept of the labels of a batch's only picture."""
    masks = None if targets.masks is None else targets.masks[0]
    return targets.boxes[0], targets.labels[0], targets.class_maps, masks


def _same(own: Tensor | None, other: Tensor | None) -> bool:
    return own is other if own is None or other is None else torch.equal(own, other)


def _error(live: Tensor, kept: Tensor) -> float:
    """Mean over channels of the error's share of the values, both as root mean squares."""
    if live.shape != kept.shape:
        return 1.0
    cells = tuple(range(live.ndim - 1)) if live.ndim == 2 else tuple(range(1, live.ndim))
    size = live.float().square().mean(cells).sqrt().clamp(min=torch.finfo(torch.float32).tiny)
    return float(((live.float() - kept.float()).square().mean(cells).sqrt() / size).mean())
