"""Logistic regression on features by L-BFGS, for several strengths of the penalty."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dinotune.probing.features import PooledFeatures

STEPS = 300
"""Of L-BFGS for each penalty at the most; it ends sooner where nothing changes any more."""


def regress(
    train: PooledFeatures, asked: PooledFeatures, penalties: Sequence[float], classes: int
) -> dict[float, Float[Tensor, "pictures classes"]]:
    """Class shares after minimising mean cross-entropy + penalty / 2 * |weights|^2, for every penalty.

    Features are standardised by the training pictures'. Strong penalties come first, and each starts where the one
    before has ended.
    """
    # Double precision, which Apple's GPUs lack.
    place = torch.device("cpu") if train.pooled.device.type == "mps" else train.pooled.device
    known, new = (features.pooled.to(place).double() for features in (train, asked))
    mean, std = known.mean(0), known.std(0, correction=0).clamp(min=1e-6)
    known, new = (known - mean) / std, (new - mean) / std
    weights = known.new_zeros(classes, known.shape[1], requires_grad=True)
    bias = known.new_zeros(classes, requires_grad=True)
    answers = {}
    for penalty in sorted(penalties, reverse=True):
        minimise(known, train.labels.to(place), weights, bias, penalty)
        with torch.no_grad():
            answers[penalty] = nn.functional.linear(new, weights, bias).softmax(dim=1).float().to(train.pooled.device)
    return {penalty: answers[penalty] for penalty in penalties}


def minimise(features: Tensor, labels: Tensor, weights: Tensor, bias: Tensor, penalty: float) -> None:
    """Change weights and bias in place to the minimum."""
    optimizer = torch.optim.LBFGS(
        [weights, bias], max_iter=STEPS, tolerance_grad=1e-6, tolerance_change=1e-10, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(nn.functional.linear(features, weights, bias), labels)
        loss = loss + penalty / 2 * weights.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
