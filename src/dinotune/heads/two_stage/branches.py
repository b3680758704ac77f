"""The loss of queries that learn side by side, each branch with objects and pairs of its own."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from dinotune.heads.matching import Matches
from dinotune.heads.padded_targets import PaddedTargets
from dinotune.heads.queries import QueryOutputs
from dinotune.heads.set_criterion import SetCriterion, by_layer, spoilt_unless
from dinotune.types import Losses

ONE_TO_ONE = "one_to_one"
"""The branch that predicts."""


@dataclass(frozen=True)
class Branch:
    """What some of the queries say, and what they should."""

    outputs: QueryOutputs
    targets: PaddedTargets
    weight: float = 1.0
    answers_per_object: int = 1
    """What losses are divided by, besides the number of objects."""
    matches: Matches | None = None
    """Pairs that are known; none where they must be found."""


def branch_losses(criterion: SetCriterion, branches: Mapping[str, Branch], count: Float[Tensor, ""]) -> Losses:
    """The terms of the one-to-one queries by kind and layer, and one term `loss_…` for each other branch.

    All branches are matched together: one copy from the device.
    """
    unknown = {name: branch for name, branch in branches.items() if branch.matches is None}
    found = criterion.match([(branch.outputs, branch.targets) for branch in unknown.values()])
    matches = dict(zip(unknown, found, strict=True))
    terms: dict[str, Tensor] = {}
    for name, branch in branches.items():
        pairs = branch.matches or matches[name]
        each = criterion.layer_losses(branch.outputs, branch.targets, pairs, count * branch.answers_per_object)
        if name == ONE_TO_ONE:
            terms |= by_layer(each)
        else:
            terms[f"loss_{name}"] = branch.weight * torch.stack([values.sum() for values in each.values()]).sum()
    return spoilt_unless(all(pairs.finite for pairs in matches.values()), terms)
