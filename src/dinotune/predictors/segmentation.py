"""A trained segmenter of scenes: pictures in, a class for each pixel out."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int16
from PIL import Image
from torch import Tensor

from dinotune import config
from dinotune.data.records import LabelSet
from dinotune.errors import SettingsError
from dinotune.files import write_bytes
from dinotune.predictors.base import PLAIN, Key, Predictor
from dinotune.tasks.segmentation.drawing import draw_classes
from dinotune.tasks.segmentation.label_maps import best_classes, to_png
from dinotune.tasks.segmentation.windows import Windows, slide
from dinotune.types import Predictions, SemanticMaps

if TYPE_CHECKING:
    import supervision as sv


@dataclass(frozen=True)
class ClassMap:
    """The class of every pixel of a picture."""

    classes: Int16[np.ndarray, "height width"]
    """0-based class indices."""
    labels: LabelSet

    @property
    def shares(self) -> dict[str, float]:
        """Share of the pixels by class name, largest first; classes that are not seen are left out."""
        counts = np.bincount(self.classes.ravel(), minlength=len(self.labels))
        order = [label for label in np.argsort(-counts, kind="stable").tolist() if counts[label]]
        return {self.labels.names[label]: counts[label] / self.classes.size for label in order}

    def to_supervision(self) -> "sv.Detections":
        """A mask per class that is seen, with the box around it and its name in `data["class_name"]`."""
        import supervision as sv

        seen = np.unique(self.classes).astype(int)
        masks = self.classes[None] == seen[:, None, None]
        names = np.array(self.labels.names, dtype=object)[seen]
        edges = sv.mask_to_xyxy(masks) + np.array([0, 0, 1, 1])  # right and bottom beyond the last pixel
        return sv.Detections(edges.astype(np.float32), masks, class_id=seen, data={"class_name": names})


class SegmentationPredictor(Predictor[ClassMap]):
    """A segmenter with its classes; pictures are seen as in its evaluation, in sliding windows where that has them."""

    noun, found = "", "classes"
    writes = frozenset({"json", "pictures", "masks"})

    def check(self, settings: config.Prediction) -> None:
        """SettingsError for thresholds and tiles."""
        if settings.threshold is not None:
            raise SettingsError("threshold: every pixel has the class with the highest score; leave it out")
        if settings.tiles is not None:
            raise SettingsError("tiles: a segmenter slides windows that evaluation.window sets; leave it out")

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Predictions:
        """Scores of whole pictures, or the mean over windows."""
        windows = Windows.of(self.description.experiment.evaluation, self.model.size_multiple)
        if windows is None:
            return super().forward(images)

        def score(rows: slice, columns: slice) -> Tensor:
            found = self.model.predict(images[:, :, rows, columns])
            assert isinstance(found, SemanticMaps), "segmentation heads answer with a score per place and class"
            return found.scores

        return slide((images.shape[-2], images.shape[-1]), windows, score)

    def describe_threshold(self, threshold: float | None = None) -> str:  # noqa: ARG002
        """Which scores count, in a line."""
        return "every pixel has the class with the highest score"

    def draw(self, image: Image.Image, answer: ClassMap) -> Image.Image:
        """The picture with colours over its pixels, above the names of the classes."""
        return draw_classes(image, answer.classes, self.labels.names)

    def entries(self, answer: ClassMap) -> list[dict[str, Any]]:
        """Classes that are seen, with their shares of the pixels."""
        return [{"class": name, "share": round(share, 4)} for name, share in answer.shares.items()]

    def write_one(self, answer: ClassMap, out: Path, name: str, kinds: Sequence[str]) -> None:
        """`masks/NAME.png` with the data set's own ids."""
        if "masks" in kinds:
            write_bytes(out / "masks" / f"{name}.png", to_png(answer.classes, self.labels))

    def stream(
        self, pictures: Iterable[tuple[Key, Image.Image]], settings: config.Prediction = PLAIN
    ) -> Iterator[tuple[Key, ClassMap]]:
        """The class of every pixel of each picture."""
        self.check(settings)
        for keys, predictions, batch in self.batches(pictures, settings.batch_size):
            assert isinstance(predictions, SemanticMaps), "segmentation heads answer with a score per place and class"
            for key, scores, picture_hw in zip(keys, predictions.scores, batch.picture_hw, strict=True):
                yield key, ClassMap(best_classes(scores, picture_hw), self.labels)
