"""No setting of the prediction is read and ignored: each changes what is computed or written."""

import json
from pathlib import Path
from typing import Any

import pytest

from dinotune import api, config
from dinotune.data.batches import Batch
from dinotune.predictors.detection import DetectionPredictor
from dinotune.types import Predictions
from tests.prediction.test_video import write_video

BASE: dict[str, Any] = {"threshold": 0.05, "tiles": 48, "batch_size": 4}
CHANGES: dict[str, Any] = {
    "threshold": 0.5,
    "tiles": 40,
    "overlap": 0.6,
    "whole": False,
    "batch_size": 2,
    "every": 2,
    "write": "json",
}


def test_every_setting_has_a_change() -> None:
    assert set(CHANGES) == set(config.Prediction.model_fields)


def test_each_change_counts(finished_run: Path, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = write_video(tmp_path / "film.mp4", shapes)
    calls: list[int] = []
    detect = DetectionPredictor.run

    def counted(self: DetectionPredictor, pictures: Any) -> tuple[Predictions, Batch]:
        calls.append(len(pictures))
        return detect(self, pictures)

    monkeypatch.setattr(DetectionPredictor, "run", counted)

    def outcome(name: str, **changes: Any) -> Any:
        calls.clear()
        settings = config.Prediction.checked(**(BASE | changes))
        out = api.predict_files(finished_run, [video], out=tmp_path / name, settings=settings)
        names = sorted(path.name for path in out.rglob("*"))
        frames = json.loads((out / "videos" / "film.json").read_text())["frames"]
        return names, frames, tuple(calls)

    plain = outcome("plain")
    assert outcome("again") == plain
    assert [key for key, value in CHANGES.items() if outcome(key, **{key: value}) == plain] == []
