"""Hungarian matching of queries to objects (Carion et al. 2020, equation 1), for all layers and images at once.

All costs are computed on the device and copied to the host once; scipy solves each image there.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from scipy.optimize import linear_sum_assignment
from torch import Tensor

BEYOND_ANY_COST = 1e6
"""Stands for costs that are not finite, which scipy refuses."""


@dataclass(frozen=True)
class Matches:
    """Pairs of query and object; entry i of every tensor belongs to pair i."""

    layer: Int64[Tensor, "pairs"]
    image: Int64[Tensor, "pairs"]
    query: Int64[Tensor, "pairs"]
    target: Int64[Tensor, "pairs"]
    """Number of the object in its image."""
    finite: bool
    """Whether all costs were finite; the pairs mean nothing otherwise."""


def match_queries(
    cost: Float[Tensor, "layers batch queries objects"], present: Bool[Tensor, "batch objects"]
) -> Matches:
    """The cheapest one-to-one pairs per layer and image.

    Where there are more objects than queries, each query gets one. Objects that are not `present` fill up images
    with fewer of them.
    """
    table = cost.detach().float().cpu().numpy()
    # `present` is made on the host from the number of boxes, so this is no second copy from the device.
    counts = present.sum(1).tolist()
    used = table[np.broadcast_to(present.numpy()[None, :, None, :], table.shape)]
    finite = bool(np.isfinite(used).all())
    if not finite:
        table = np.nan_to_num(table, nan=BEYOND_ANY_COST, posinf=BEYOND_ANY_COST, neginf=-BEYOND_ANY_COST)
    found = [
        (layer, image, *linear_sum_assignment(table[layer, image, :, :count]))
        for layer in range(len(table))
        for image, count in enumerate(counts)
        if count
    ]
    columns = [
        np.concatenate([np.full(len(queries), layer) for layer, _, queries, _ in found] or [np.empty(0)]),
        np.concatenate([np.full(len(queries), image) for _, image, queries, _ in found] or [np.empty(0)]),
        np.concatenate([queries for _, _, queries, _ in found] or [np.empty(0)]),
        np.concatenate([targets for *_, targets in found] or [np.empty(0)]),
    ]
    layer, image, query, target = torch.from_numpy(np.stack(columns).astype(np.int64)).to(cost.device)
    return Matches(layer, image, query, target, finite)
