"""Settings of the prediction: written as text or lists, and what is wrong is said with the values that would work."""

from typing import Any

import pytest

from dinotune import config
from dinotune.errors import SettingsError


@pytest.mark.parametrize("write", ["json, yolo", ["json", "yolo"], ("json", "yolo")])
def test_lists_and_texts(write: Any) -> None:
    assert config.Prediction.checked(write=write).write == ("json", "yolo")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"threshold": -0.1}, "threshold: -0.1 is wrong; give number >= 0 and <= 1 or none"),
        ({"tiles": 6.5}, "tiles: 6.5 is wrong; give integer >= 1 or none"),
        ({"write": ""}, "write:  is wrong; give non-empty list, each json, pictures, yolo, coco, csv or masks"),
        (
            {"every": 0, "batch_size": 0},
            "every: 0 is wrong; .*\nbatch_size: 0 is wrong; give integer >= 1|batch_size.*\n",
        ),
        ({"tile": 640}, "tile: unknown; there is threshold, tiles, overlap"),
    ],
)
def test_wrong_values(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        config.Prediction.checked(**values)
