"""A trained detector: pictures in, `supervision.Detections` out."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from dinotune import config
from dinotune.predictors.base import PLAIN, Answered, Key, Predictor
from dinotune.tasks.detection.detected_boxes import DetectedBoxes
from dinotune.tasks.detection.drawing import draw_detections
from dinotune.tasks.detection.edges import detection_entries, in_picture_pixels, to_supervision
from dinotune.tasks.detection.labels import labelled, write_labels
from dinotune.tasks.detection.thresholds import above_thresholds, describe_thresholds, used_thresholds
from dinotune.tasks.detection.tiles import merge_tiles, tile_views
from dinotune.types import Detections

if TYPE_CHECKING:
    import supervision as sv


class DetectionPredictor(Predictor["sv.Detections"]):
    """A detector with its classes and thresholds."""

    noun, found = "detection", "detections"
    writes = frozenset({"json", "pictures", "yolo", "coco"})
    together = frozenset({"yolo", "coco"})

    def heading(self, threshold: float | None = None) -> dict[str, Any]:
        """Classes and the thresholds that counted."""
        return {**super().heading(threshold), "thresholds": self.thresholds(threshold)}

    def thresholds(self, threshold: float | None = None) -> dict[str, float]:
        """Lowest score that counts, per class name: `threshold`, or else the stored ones, or else 0.5."""
        return used_thresholds(self.labels, self.description.thresholds, threshold)

    def describe_threshold(self, threshold: float | None = None) -> str:
        """Which scores count, in a line."""
        return describe_thresholds(self.labels, self.description.thresholds, threshold)

    def draw(self, image: Image.Image, answer: "sv.Detections") -> Image.Image:
        """A copy of the picture with boxes, class names and scores."""
        return draw_detections(image, answer)

    def entries(self, answer: "sv.Detections") -> list[dict[str, Any]]:
        """Class, score and `box_xyxy` of each detection, in pixels of the picture."""
        return detection_entries(answer)

    def write(self, answered: "Sequence[Answered[sv.Detections]]", out: Path, kinds: Sequence[str]) -> None:
        """Data sets in YOLO's and COCO's layout, to correct by hand."""
        pictures = [labelled(one.path, one.number, one.picture_hw, one.answer) for one in answered]
        write_labels(self.labels, pictures, out, kinds)

    def stream(
        self, pictures: Iterable[tuple[Key, Image.Image]], settings: config.Prediction = PLAIN
    ) -> "Iterator[tuple[Key, sv.Detections]]":
        """Detections in the pixels of each picture, best score first."""
        self.check(settings)
        detected: Iterable[tuple[Key, DetectedBoxes, tuple[int, int]]]
        if settings.tiles is None:
            detected = self._detect_all(pictures, settings.batch_size)
        else:
            detected = (
                (key, self._detect_in_tiles(image, settings), (image.height, image.width)) for key, image in pictures
            )
        thresholds = self.thresholds(settings.threshold)
        for key, rows, picture_hw in detected:
            yield key, to_supervision(above_thresholds(rows, self.labels, thresholds), self.labels, picture_hw)

    def _detect_in_tiles(self, picture: Image.Image, settings: config.Prediction) -> DetectedBoxes:
        assert settings.tiles is not None
        picture_hw = (picture.height, picture.width)
        views = tile_views(picture_hw, settings.tiles, settings.overlap)
        if len(views) == 1:
            return self._detect_whole(picture)
        crops = ((index, picture.crop(view)) for index, view in enumerate(views))
        # Boxes that do not count must not push aside those that do.
        thresholds = self.thresholds(settings.threshold)
        found = {
            index: above_thresholds(rows, self.labels, thresholds)
            for index, rows, _ in self._detect_all(crops, settings.batch_size)
        }
        whole = self._detect_whole(picture) if settings.whole else DetectedBoxes.empty()
        whole = above_thresholds(whole, self.labels, thresholds)
        return merge_tiles([found[index] for index in range(len(views))], views, picture_hw, whole)

    def _detect_whole(self, picture: Image.Image) -> DetectedBoxes:
        predictions, batch = self.run([self.prepare((0, picture))])
        assert isinstance(predictions, Detections), "detection heads answer with boxes"
        return in_picture_pixels(predictions, batch)

    def _detect_all(
        self, pictures: Iterable[tuple[Key, Image.Image]], batch_size: int
    ) -> Iterator[tuple[Key, DetectedBoxes, tuple[int, int]]]:
        for keys, predictions, batch in self.batches(pictures, batch_size):
            assert isinstance(predictions, Detections), "detection heads answer with boxes"
            rows = in_picture_pixels(predictions, batch)
            for number, (key, picture_hw) in enumerate(zip(keys, batch.picture_hw, strict=True)):
                yield key, rows.select(rows.image_ids == number), picture_hw
