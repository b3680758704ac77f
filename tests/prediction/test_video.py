"""Videos: every frame's detections in order, a drawn copy that plays, nothing half-written but on Ctrl-C."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from dinotune import api, cli, config
from dinotune.data.batches import Batch
from dinotune.errors import DataError, SettingsError
from dinotune.predictors.detection import DetectionPredictor
from dinotune.types import Predictions

FRAMES = 7
SPEED = 10.0


def write_video(path: Path, shapes: Path, codec: str = "mp4v", size: tuple[int, int] = (96, 64)) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), SPEED, size)
    assert writer.isOpened()
    for picture in sorted((shapes / "images" / "train").iterdir())[:FRAMES]:
        with Image.open(picture) as image:
            writer.write(np.asarray(image.convert("RGB").resize(size))[..., ::-1])
    writer.release()
    return path


def read_frames(path: Path) -> tuple[list[np.ndarray], float]:
    """RGB frames, and how many come per second."""
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (read := capture.read())[0]:
        frames.append(read[1][..., ::-1])
    speed = capture.get(cv2.CAP_PROP_FPS)
    capture.release()
    return frames, speed


def predict(run: Path, video: Path, out: Path, **settings: Any) -> tuple[Path, dict[str, Any]]:
    """The drawn copy and the JSON."""
    api.predict_files(run, [video], out=out, settings=config.Prediction(threshold=0.05, batch_size=3, **settings))
    return out / "videos" / f"{video.stem}.mp4", json.loads((out / "videos" / f"{video.stem}.json").read_text())


@pytest.fixture
def video(shapes: Path, tmp_path: Path) -> Path:
    return write_video(tmp_path / "film.mp4", shapes)


@pytest.mark.parametrize(("name", "codec", "size"), [("a.mp4", "mp4v", (96, 64)), ("b.AVI", "MJPG", (65, 49))])
def test_every_frame(
    finished_run: Path, shapes: Path, tmp_path: Path, name: str, codec: str, size: tuple[int, int]
) -> None:
    video = write_video(tmp_path / name, shapes, codec, size)
    drawn, content = predict(finished_run, video, tmp_path / "out")
    frames, _ = read_frames(video)
    assert (content["file"], content["frames_per_second"], content["every"]) == (str(video), SPEED, 1)
    assert content["complete"] is True
    assert [entry["frame"] for entry in content["frames"]] == list(range(FRAMES))
    assert [entry["seconds"] for entry in content["frames"]] == pytest.approx([n / SPEED for n in range(FRAMES)])
    predictor, total = api.load(finished_run), 0
    for frame, entry in zip(frames, content["frames"], strict=True):
        found = predictor.predict(frame, 0.05)
        boxes = [row["box_xyxy"] for row in entry["detections"]]
        assert np.array(boxes).reshape(-1, 4) == pytest.approx(found.xyxy, abs=0.02)
        total += len(boxes)
    assert total > FRAMES
    shown, speed = read_frames(drawn)
    assert (len(shown), speed) == (FRAMES, SPEED)
    factor = shown[0].shape[1] // frames[0].shape[1]
    assert shown[0].shape == (factor * frames[0].shape[0], factor * frames[0].shape[1], 3)
    assert list((tmp_path / "out").rglob(".*")) == []
    assert not (tmp_path / "out" / "predictions.json").exists()


def test_the_copy_shows_the_frames_in_their_colours(finished_run: Path, video: Path, tmp_path: Path) -> None:
    api.predict_files(finished_run, [video], out=tmp_path / "out", settings=config.Prediction(threshold=1))
    for original, shown in zip(read_frames(video)[0], read_frames(tmp_path / "out/videos/film.mp4")[0], strict=True):
        assert original.mean(axis=(0, 1)) == pytest.approx(shown.mean(axis=(0, 1)), abs=6)


def test_every_third_frame(finished_run: Path, video: Path, tmp_path: Path) -> None:
    drawn, content = predict(finished_run, video, tmp_path / "out", every=3)
    assert [(entry["frame"], entry["seconds"]) for entry in content["frames"]] == [(0, 0.0), (3, 0.3), (6, 0.6)]
    shown, speed = read_frames(drawn)
    assert len(shown) == 3
    assert speed == pytest.approx(SPEED / 3, abs=0.01)


@pytest.mark.parametrize(("write", "suffix"), [("json", ".json"), ("pictures", ".mp4")])
def test_only_what_is_asked_for(finished_run: Path, video: Path, tmp_path: Path, write: str, suffix: str) -> None:
    settings = config.Prediction.checked(write=write)
    api.predict_files(finished_run, [video], out=tmp_path / "out", settings=settings)
    assert [path.name for path in (tmp_path / "out" / "videos").iterdir()] == [f"film{suffix}"]


def test_tiles_of_frames(finished_run: Path, video: Path, tmp_path: Path) -> None:
    _, content = predict(finished_run, video, tmp_path / "out", tiles=64)
    found = api.load(finished_run).predict(read_frames(video)[0][0], 0.05, tiles=64)
    boxes = [row["box_xyxy"] for row in content["frames"][0]["detections"]]
    assert boxes == pytest.approx(found.xyxy, abs=0.02)


def test_ctrl_c_leaves_what_was_done(
    finished_run: Path, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_after(2, monkeypatch)
    out = tmp_path / "out"
    assert cli.run(["predict", str(finished_run), str(video), "--out", str(out), "--batch-size", "1"]) == 130
    content = json.loads((out / "videos" / "film.json").read_text())
    assert content["complete"] is False
    shown, speed = read_frames(out / "videos" / "film.mp4")
    assert len(shown) == len(content["frames"])
    assert speed == SPEED
    assert list(out.rglob(".*")) == []


def interrupt_after(batches: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while the network computes, after so many batches and all that waits behind them."""
    detect = DetectionPredictor.run
    done: list[Any] = []

    def interrupted(self: DetectionPredictor, pictures: Any) -> tuple[Predictions, Batch]:
        if len(done) == batches + 4:
            raise KeyboardInterrupt
        done.append(len(pictures))
        return detect(self, pictures)

    monkeypatch.setattr(DetectionPredictor, "run", interrupted)


def test_an_error_leaves_nothing_and_keeps_what_was_there(
    finished_run: Path, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    predict(finished_run, video, out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    monkeypatch.setattr("dinotune.predictors.detection.draw_detections", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        predict(finished_run, video, out)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_unreadable_videos_are_named_and_the_others_done(
    finished_run: Path, video: Path, shapes: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    broken, empty = tmp_path / "broken.mp4", tmp_path / "empty.avi"
    broken.write_bytes(video.read_bytes()[:200])
    empty.touch()
    picture = min((shapes / "images" / "val").iterdir())
    with pytest.raises(DataError) as raised:
        api.predict_files(finished_run, [broken, empty, video, picture], out=tmp_path / "out")
    assert f"{broken}: not a readable video; convert it to MP4 (H.264), or to pictures" in str(raised.value)
    assert f"{empty}: not a readable video" in str(raised.value)
    assert "2 of 4 files left out" in str(raised.value)
    assert sorted(path.name for path in (tmp_path / "out" / "videos").iterdir()) == ["film.json", "film.mp4"]
    assert len(json.loads((tmp_path / "out" / "predictions.json").read_text())["pictures"]) == 1
    assert "film.mp4: 7 frames, " in capfd.readouterr().out


def test_a_video_that_breaks_off(
    finished_run: Path, shapes: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    video = write_video(tmp_path / "cut.avi", shapes, "MJPG")
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    drawn, content = predict(finished_run, video, tmp_path / "out")
    assert 0 < len(content["frames"]) < FRAMES
    assert len(read_frames(drawn)[0]) == len(content["frames"])
    assert f"cut.avi: only {len(content['frames'])} of {FRAMES} frames can be read" in capfd.readouterr().out


def test_every_is_for_videos(finished_run: Path, shapes: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="every: 2 is for videos"):
        api.predict_files(
            finished_run, [shapes / "images" / "val"], out=tmp_path / "out", settings=config.Prediction(every=2)
        )
    assert not (tmp_path / "out").exists()
