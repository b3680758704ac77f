"""Predict on a video frame by frame, in constant memory: a drawn copy, and a JSON of all frames."""

import math
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from dinotune import config
from dinotune.data.streams import THREADS, ahead
from dinotune.errors import DataError
from dinotune.prediction.progress import counting, say
from dinotune.prediction.video_files import Film, FrameList, Predicted
from dinotune.predictors.base import Predictor

if TYPE_CHECKING:
    import cv2

USUAL_SPEED = 25.0
"""Frames per second where the file does not say."""

FFMPEG_QUIET = "-8"
"""Its AV_LOG_QUIET."""


@dataclass(frozen=True)
class _Frame:
    number: int
    """0-based, as in the file."""
    seconds: float
    image: Image.Image


class _Video:
    """An opened video file."""

    def __init__(self, path: Path, capture: "cv2.VideoCapture") -> None:
        import cv2

        self.path = path
        self.capture = capture
        speed = capture.get(cv2.CAP_PROP_FPS)
        self.frames_per_second = speed if math.isfinite(speed) and speed > 0 else USUAL_SPEED
        self.announced = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        """Number of frames that the file claims; 0 where it does not say."""
        self.read = 0

    def frames(self, every: int) -> Iterator[_Frame]:
        """Every frame whose number is a multiple of `every`. DataError where there is none; a broken rest is said and left out."""
        import cv2

        while self.capture.grab():
            number, self.read = self.read, self.read + 1
            if number % every:
                continue
            seconds = self.capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            decoded, pixels = self.capture.retrieve()
            if not decoded:
                break
            # Streams without timestamps give 0 for all frames.
            yield _Frame(number, seconds or number / self.frames_per_second, Image.fromarray(pixels[..., ::-1].copy()))
        if not self.read:
            raise DataError(f"{self.path}: no frame of this video can be read; it may be damaged or cut off")
        if self.read < self.announced:
            say(f"{self.path}: only {self.read} of {self.announced} frames can be read")


@contextmanager
def _opened(path: Path) -> Iterator[_Video]:
    import cv2

    # FFmpeg writes its own words on broken files to the terminal.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", FFMPEG_QUIET)
    capture = cv2.VideoCapture(str(path))
    try:
        if not capture.isOpened():
            raise DataError(f"{path}: not a readable video; convert it to MP4 (H.264), or to pictures")
        yield _Video(path, capture)
    finally:
        capture.release()


def predict_video(predictor: Predictor[Any], path: Path, drawn: Path, settings: config.Prediction) -> None:
    """Write a drawn copy to `drawn` and its detections to a JSON beside it, as far as `settings.write` asks for.

    With `settings.every` N, both hold every N-th frame, and the copy runs at the speed of the original. Ctrl-C
    leaves both as far as they came; errors leave neither.

    Raises:
        DataError: the file is no readable video.
    """
    with _opened(path) as video, ExitStack() as stack:
        files: list[Film | FrameList] = []
        if "pictures" in settings.write:
            files.append(stack.enter_context(Film(drawn, video.frames_per_second / settings.every)))
        if "json" in settings.write:
            head = _head(predictor, video, settings)
            files.append(stack.enter_context(FrameList(drawn.with_suffix(".json"), head, predictor.found)))
        total = math.ceil(video.announced / settings.every) or None
        pool = stack.enter_context(ThreadPoolExecutor(THREADS))
        counter = stack.enter_context(counting(str(path), total, "frames", predictor.noun))
        predicted = predictor.stream(((frame, frame.image) for frame in video.frames(settings.every)), settings)
        for frame in ahead(pool, partial(_draw, predictor), predicted, THREADS):
            for file in files:
                file.add(frame)
            counter.advance(len(frame.entries))


def _head(predictor: Predictor[Any], video: _Video, settings: config.Prediction) -> dict[str, Any]:
    return {
        "file": str(video.path),
        "frames_per_second": video.frames_per_second,
        "every": settings.every,
        **predictor.heading(settings.threshold),
    }


def _draw(predictor: Predictor[Any], predicted: tuple[_Frame, Any]) -> Predicted:
    frame, answer = predicted
    return Predicted(frame.number, frame.seconds, predictor.draw(frame.image, answer), predictor.entries(answer))
