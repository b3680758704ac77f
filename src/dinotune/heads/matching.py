"""Hungarian matching of queries to objects (Carion et al. 2020, equation 1), for all layers and images at once.

All costs are computed on the device and copied to the host together; scipy solves each image there.
"""

from collections.abc import Sequence
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


@dataclass(frozen=True)
class CostTable:
    """What it costs to let each query answer for each object of its image."""

    cost: Float[Tensor, "layers batch queries objects"]
    present: Bool[Tensor, "batch objects"]
    """On the host, the objects of an image first; the others fill up images with fewer of them."""


def match_queries(tables: Sequence[CostTable]) -> list[Matches]:
    """The cheapest one-to-one pairs per table, layer and image.

    Where there are more objects than queries, each query gets one.
    """
    flat = torch.cat([table.cost.detach().float().flatten() for table in tables]).cpu()
    parts = flat.split([table.cost.numel() for table in tables])
    return [_solve(part.view(table.cost.shape), table) for part, table in zip(parts, tables, strict=True)]


def _solve(on_host: Tensor, of: CostTable) -> Matches:
    table, present = on_host.numpy(), of.present
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
    layer, image, query, target = torch.from_numpy(np.stack(columns).astype(np.int64)).to(of.cost.device)
    return Matches(layer, image, query, target, finite)
