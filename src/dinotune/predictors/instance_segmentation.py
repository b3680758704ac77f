"""A trained segmenter of objects: pictures in, `supervision.Detections` with masks out."""

from dinotune import config
from dinotune.errors import SettingsError
from dinotune.predictors.detection import DetectionPredictor


class InstancePredictor(DetectionPredictor):
    """As a detector, with a mask for each object."""

    noun, found = "object", "objects"
    writes = frozenset({"json", "pictures", "coco"})

    def check(self, settings: config.Prediction) -> None:
        """SettingsError for tiles: masks that two of them cut would not be put together."""
        if settings.tiles is not None:
            raise SettingsError("tiles: masks are not put together over tiles; leave it out, or raise data.size")
