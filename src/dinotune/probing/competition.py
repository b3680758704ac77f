"""Three kinds of classifiers on the same features, each measured."""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from dinotune import config
from dinotune.data.records import LabelSet
from dinotune.heads.linear_classifier import LinearClassifierHead
from dinotune.probing.features import PooledFeatures
from dinotune.probing.linear import train_linear
from dinotune.probing.logistic import regress
from dinotune.probing.neighbours import vote
from dinotune.tasks.classification.best_classes import BestClasses
from dinotune.tasks.classification.metrics import measure
from dinotune.types import ClassScores


@dataclass(frozen=True)
class Row:
    """A classifier with what it reached."""

    method: str
    """`k-NN`, `logistic regression` or `linear`."""
    option: str
    """What sets it apart from others of its method: `k=10`."""
    numbers: dict[str, float | None]
    """Accuracies by name."""


@dataclass(frozen=True)
class Competition:
    """Features of the training pictures (of each view) and of those that are measured."""

    views: Sequence[PooledFeatures]
    measured: PooledFeatures
    labels: LabelSet
    settings: config.Probe
    seed: int

    def rows(self, head: LinearClassifierHead) -> tuple[list[Row], LinearClassifierHead]:
        """Every classifier, and the linear one with the best top-1; all of those begin like `head`."""
        heads = [copy.deepcopy(head) for _ in self.settings.learning_rates]
        train_linear(heads, self.views, self.settings, self.seed)
        with torch.no_grad():
            answers = [each.eval().classify(self.measured.pooled).softmax(dim=1) for each in heads]
        rates = [f"learning rate {rate:g}" for rate in self.settings.learning_rates]
        linear = [self._row("linear", rate, shares) for rate, shares in zip(rates, answers, strict=True)]
        best = max(range(len(heads)), key=lambda number: linear[number].numbers["top1"] or 0.0)
        return [*self._neighbours(), *self._regressions(), *linear], heads[best]

    def _neighbours(self) -> Iterator[Row]:
        train, settings = self.views[0], self.settings
        neighbours = list(dict.fromkeys(min(k, len(train)) for k in settings.neighbours))
        votes = vote(train, self.measured, neighbours, settings.temperature, len(self.labels))
        for k, shares in votes.items():
            yield self._row("k-NN", f"k={k}{', all there are' if k == len(train) else ''}", shares)

    def _regressions(self) -> Iterator[Row]:
        answers = regress(self.views[0], self.measured, self.settings.penalties, len(self.labels))
        for penalty, shares in answers.items():
            yield self._row("logistic regression", f"penalty {penalty:g}", shares)

    def _row(self, method: str, option: str, shares: Float[Tensor, "pictures classes"]) -> Row:
        best = BestClasses.from_scores(ClassScores(shares), self.measured.image_ids.tolist())
        return Row(method, option, measure(self.measured.labels.cpu().numpy(), best.labels, self.labels).numbers)


def best_of_each(rows: Sequence[Row]) -> list[Row]:
    """The best row of each method by top-1, in the order in which methods come."""
    top: Callable[[Row], float] = lambda row: row.numbers["top1"] or 0.0  # noqa: E731
    methods = dict.fromkeys(row.method for row in rows)
    return [max((row for row in rows if row.method == method), key=top) for method in methods]
