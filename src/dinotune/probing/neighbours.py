"""k-nearest neighbours on CLS tokens (Wu et al. 2018; Caron et al. 2021, DINO, section 4.1)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dinotune.probing.features import PooledFeatures

CHUNK = 1024
"""Pictures that are compared with all training pictures at a time."""


def vote(
    train: PooledFeatures, asked: PooledFeatures, neighbours: Sequence[int], temperature: float, classes: int
) -> dict[int, Float[Tensor, "pictures classes"]]:
    """Shares of each class in the weighted votes of the k nearest training pictures, for every k of `neighbours`.

    Similarity is the cosine; a neighbour counts exp(similarity / temperature). A k above the number of training
    pictures takes all of them.
    """
    known = nn.functional.normalize(train.cls, dim=1)
    shares: dict[int, list[Tensor]] = {k: [] for k in neighbours}
    for rows in nn.functional.normalize(asked.cls, dim=1).split(CHUNK):
        nearest = (rows @ known.T).topk(min(max(neighbours), len(known)), dim=1)
        votes = nn.functional.one_hot(train.labels[nearest.indices], classes).float()
        for k in neighbours:
            weights = (nearest.values[:, :k] / temperature).softmax(dim=1)
            shares[k].append(torch.einsum("pn,pnc->pc", weights, votes[:, :k]))
    return {k: torch.cat(parts) for k, parts in shares.items()}
