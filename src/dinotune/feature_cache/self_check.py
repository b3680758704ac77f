"""Self-check: some kept views are computed again and compared, so that no run trains on features of something else."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dinotune.data.loader import Pictures, collate
from dinotune.data.sampler import Draw
from dinotune.errors import DinotuneError
from dinotune.feature_cache.filling import Filler
from dinotune.feature_cache.store import Store, key_of

LARGEST_ERROR = 0.05
"""As a share of the values' root mean square in each channel, on average: integers and bfloat16 stay below .01, other
views and weights are above .3."""


def check(store: Store, filler: Filler) -> None:
    """Compute the first and the last view anew, that is one picture as it is and another as it was drawn.

    Raises:
        DinotuneError: they are not what is kept.
    """
    there = [draw for draw in filler.draws() if key_of(draw, filler.records) in store]
    pictures = Pictures(filler.records, filler.experiment.data, training=filler.training)
    for draw in _ends(there):
        sample = pictures[draw]
        if sample.error:
            continue
        live, kept = filler.cut_of(collate([sample])).tensors, store[key_of(draw, filler.records)].cut.tensors
        error = (
            max((_error(live[name][0].cpu(), kept[name]) for name in live), default=0.0)
            if live.keys() == kept.keys()
            else 1.0
        )
        if not error <= LARGEST_ERROR:
            raise DinotuneError(
                f"{store.folder}: the features kept of {sample.record.path} (view {draw.view}) are not those that the "
                f"backbone gives now (they differ by {error:.0%}); remove the folder, and they are computed anew"
            )


def _ends(draws: Sequence[Draw]) -> list[Draw]:
    return [draws[0], draws[-1]] if len(draws) > 1 else list(draws)


def _error(live: Tensor, kept: Tensor) -> float:
    """Mean over channels of the error's share of the values, both as root mean squares."""
    if live.shape != kept.shape:
        return 1.0
    cells = tuple(range(live.ndim - 1)) if live.ndim == 2 else tuple(range(1, live.ndim))
    size = live.float().square().mean(cells).sqrt().clamp(min=torch.finfo(torch.float32).tiny)
    return float(((live.float() - kept.float()).square().mean(cells).sqrt() / size).mean())
