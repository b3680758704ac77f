"""Class maps of a split: IoU and accuracies of all pixels, masks as files."""

from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from dinotune.data.batches import Batch
from dinotune.data.formats.writing import find_clash, relative_names
from dinotune.data.images import read_image
from dinotune.data.pixel_labels import class_map
from dinotune.data.records import ImageRecord, Records
from dinotune.files import write_bytes, write_text
from dinotune.model import Model
from dinotune.tasks.base import Answers, Metrics
from dinotune.tasks.confusion import confusion_table
from dinotune.tasks.segmentation.drawing import draw_comparison
from dinotune.tasks.segmentation.label_maps import best_classes, from_png, to_png
from dinotune.tasks.segmentation.metrics import Matrix, measure, pixel_confusion
from dinotune.tasks.segmentation.windows import Windows, slide
from dinotune.types import Losses, Predictions, SemanticMaps


class SegmentationAnswers(Answers):
    """The class of every pixel of every picture, at the picture's own size; kept as PNG."""

    def __init__(self, records: Records, windows: Windows | None = None) -> None:
        self.records = records
        self.labels = records.labels
        self.windows = windows
        self._row = records.rows
        self._masks: dict[int, bytes] = {}
        self._matrix: Matrix = np.zeros((len(self.labels), len(self.labels)), np.int64)

    def run(self, model: Model, batch: Batch) -> tuple[Losses, Predictions]:
        """Whole pictures, or window by window: then losses are means over the windows."""
        if self.windows is None:
            return super().run(model, batch)
        parts: list[Losses] = []

        def score(rows: slice, columns: slice) -> Tensor:
            losses, found = Answers.run(self, model, batch.part(rows, columns))
            assert isinstance(found, SemanticMaps), "segmentation heads answer with a score per place and class"
            parts.append(losses)
            return found.scores

        maps = slide(batch.image_hw, self.windows, score)
        return Losses.mean(parts), maps

    def add(self, predictions: Predictions, batch: Batch) -> None:
        """Take in a batch, and compare it with the truth pixel by pixel."""
        assert isinstance(predictions, SemanticMaps), "segmentation heads answer with a score per place and class"
        for scores, image_id, picture_hw in zip(predictions.scores, batch.image_ids, batch.picture_hw, strict=True):
            answered = best_classes(scores, picture_hw)
            truth = class_map(self.records[self._row[image_id]])
            self._matrix += pixel_confusion(truth, answered, len(self.labels))
            self._masks[image_id] = to_png(answered, self.labels)

    def measure(self, records: Records) -> Metrics:
        """MIoU and accuracies."""
        assert set(records.image_ids.tolist()) == self._masks.keys(), "exactly the pictures that were run"
        return measure(self._matrix, len(records), self.labels)

    def write(self, records: Records, folder: Path) -> None:
        """Write `masks/NAME.png` with the data set's own ids, and `confusion.csv`: a row per class, a column per answer."""
        names = relative_names(records)
        clear = find_clash(names) is None
        for image_id, name in zip(records.image_ids.tolist(), names, strict=True):
            # Pictures that differ in the suffix alone keep it in the names of their masks.
            file = name.with_suffix(".png") if clear else name.with_name(f"{name.name}.png")
            write_bytes(folder / "masks" / file, self._masks[image_id])
        write_text(folder / "confusion.csv", confusion_table(self._matrix, self.labels))

    def draw(self, record: ImageRecord, metrics: Metrics) -> Image.Image:  # noqa: ARG002
        """The true classes laid over the picture, beside it those that were found."""
        image = read_image(record.path, (record.height, record.width))
        answered = from_png(self._masks[record.image_id], self.labels)
        return draw_comparison(image, class_map(record), answered, self.labels.names)

    def explain(self, records: Records, metrics: Metrics) -> str | None:  # noqa: ARG002
        """Where every pixel is given one class."""
        said = np.flatnonzero(self._matrix.sum(0))
        if len(said) != 1 or len(self.labels) == 1:
            return None
        return f"Every pixel is said to be {self.labels.names[said[0]]}: the model has not learned to tell classes."
