"""A trained classifier: pictures in, `supervision.Classifications` out."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from dinotune import config
from dinotune.errors import SettingsError
from dinotune.files import write_text
from dinotune.predictors.base import PLAIN, Answered, Key, Predictor
from dinotune.tasks.classification.best_classes import MOST_KEPT
from dinotune.tasks.classification.drawing import draw_classes
from dinotune.tasks.classification.tables import answers_table
from dinotune.types import ClassScores

if TYPE_CHECKING:
    import supervision as sv


class ClassificationPredictor(Predictor["sv.Classifications"]):
    """A classifier with its classes."""

    noun, found = "", "classes"
    writes = frozenset({"json", "pictures", "csv"})
    together = frozenset({"csv"})

    def check(self, settings: config.Prediction) -> None:
        """SettingsError for tiles."""
        if settings.tiles is not None:
            raise SettingsError("tiles: a classifier answers for whole pictures; leave it out")

    def describe_threshold(self, threshold: float | None = None) -> str:
        """Which scores count, in a line."""
        return "all classes, best first" if threshold is None else f"classes with a score of at least {threshold:g}"

    def draw(self, image: Image.Image, answer: "sv.Classifications") -> Image.Image:
        """The picture above its best classes."""
        return draw_classes(image, self._named(answer))

    def entries(self, answer: "sv.Classifications") -> list[dict[str, Any]]:
        """Class and score of the best ones."""
        return [{"class": name, "score": round(score, 4)} for name, score in self._named(answer)[:MOST_KEPT]]

    def write(self, answered: "Sequence[Answered[sv.Classifications]]", out: Path, kinds: Sequence[str]) -> None:
        """`predictions.csv`: a line per picture, its best classes with their scores."""
        if "csv" in kinds:
            write_text(
                out / "predictions.csv", answers_table([(str(one.path), self._named(one.answer)) for one in answered])
            )

    def stream(
        self, pictures: Iterable[tuple[Key, Image.Image]], settings: config.Prediction = PLAIN
    ) -> "Iterator[tuple[Key, sv.Classifications]]":
        """Classes of each picture with their scores, best first."""
        import supervision as sv

        self.check(settings)

        for keys, predictions, _ in self.batches(pictures, settings.batch_size):
            assert isinstance(predictions, ClassScores), "classification heads answer with class scores"
            scores, order = predictions.scores.float().sort(dim=1, descending=True)
            for key, values, labels in zip(keys, scores.cpu().numpy(), order.cpu().numpy(), strict=True):
                kept = values >= (settings.threshold or 0.0)
                yield key, sv.Classifications(class_id=labels[kept].astype(np.int64), confidence=values[kept])

    def _named(self, answer: "sv.Classifications") -> list[tuple[str, float]]:
        assert answer.confidence is not None
        names = [self.labels.names[label] for label in answer.class_id.tolist()]
        return list(zip(names, answer.confidence.tolist(), strict=True))
