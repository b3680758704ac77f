"""Linear classifiers with several learning rates, trained at once on the same features (Oquab et al. 2024, DINOv2)."""

import math
from collections.abc import Sequence

import torch
from torch import nn

from dinotune import config
from dinotune.heads.linear_classifier import LinearClassifierHead
from dinotune.probing.features import PooledFeatures

MOMENTUM = 0.9
REFERENCE_BATCH = 256
"""Learning rates are for so many pictures per step."""


def train_linear(
    heads: Sequence[LinearClassifierHead], views: Sequence[PooledFeatures], settings: config.Probe, seed: int
) -> None:
    """Train a head per learning rate of the settings, all on the same batches, by SGD with a cosine to 0.

    Each epoch takes one of the `views` of all pictures. No head sees the others: each ends as if trained alone.
    """
    count, device = len(views[0]), views[0].labels.device
    batch = min(settings.batch_size, count)
    groups = [
        {"params": list(head.parameters()), "lr": rate * batch / REFERENCE_BATCH}
        for head, rate in zip(heads, settings.learning_rates, strict=True)
    ]
    optimizer = torch.optim.SGD(groups, momentum=MOMENTUM)
    steps = settings.epochs * math.ceil(count / batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(seed)
    for epoch in range(settings.epochs):
        features = views[epoch % len(views)]
        for rows in torch.randperm(count, generator=generator).to(device).split(batch):
            pooled, labels = features.pooled[rows], features.labels[rows]
            losses = [_loss(head, pooled, labels) for head in heads]
            torch.stack(losses).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()


def _loss(head: LinearClassifierHead, pooled: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    logits = head.classify(head.dropout(pooled))
    return nn.functional.cross_entropy(logits, labels, label_smoothing=head.settings.label_smoothing)
