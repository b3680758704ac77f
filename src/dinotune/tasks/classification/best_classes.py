"""The best classes of pictures as numpy columns."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64

from dinotune.types import ClassScores

MOST_KEPT = 5
"""Classes of each picture that are kept, and written into files."""


@dataclass(frozen=True)
class BestClasses:
    """A row per picture, its best class first."""

    image_ids: Int64[np.ndarray, "images"]
    """Original image ids, as in `Records.image_ids`."""
    labels: Int64[np.ndarray, "images kept"]
    """0-based class indices."""
    scores: Float[np.ndarray, "images kept"]

    def __len__(self) -> int:
        return len(self.image_ids)

    def of(self, image_ids: Int64[np.ndarray, "wanted"]) -> "BestClasses":
        """The rows of these pictures, in this order."""
        order = np.argsort(self.image_ids, kind="stable")
        rows = order[np.searchsorted(self.image_ids[order], image_ids)] if len(order) else order
        assert np.array_equal(self.image_ids[rows], image_ids), "every picture was answered for"
        return BestClasses(self.image_ids[rows], self.labels[rows], self.scores[rows])

    @classmethod
    def from_scores(cls, predicted: ClassScores, image_ids: Sequence[int]) -> "BestClasses":
        """The best of a batch."""
        best = predicted.scores.float().topk(min(MOST_KEPT, predicted.scores.shape[1]), dim=1)
        return cls(np.array(image_ids, np.int64), best.indices.cpu().numpy(), best.values.double().cpu().numpy())

    @classmethod
    def concatenate(cls, parts: Sequence["BestClasses"], classes: int) -> "BestClasses":
        """The rows of all parts, in order; none gives no rows."""
        kept = min(MOST_KEPT, classes)
        parts = [cls(np.empty(0, np.int64), np.empty((0, kept), np.int64), np.empty((0, kept))), *parts]
        return cls(
            image_ids=np.concatenate([part.image_ids for part in parts]),
            labels=np.concatenate([part.labels for part in parts]),
            scores=np.concatenate([part.scores for part in parts]),
        )
