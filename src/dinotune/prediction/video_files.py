"""What a video's prediction writes, frame by frame: under another name until it is finished."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from PIL import Image

from dinotune.errors import DinotuneError

if TYPE_CHECKING:
    import cv2

CODEC = "mp4v"
"""MPEG-4; the H.264 encoders are missing from most builds of OpenCV."""


@dataclass(frozen=True)
class Predicted:
    """A frame with what was found in it."""

    number: int
    """0-based, as in the file."""
    seconds: float
    drawn: Image.Image
    entries: list[dict[str, Any]]
    """What was found, as in JSON."""


class _Growing:
    """A file that takes its name when it is finished or interrupted, and is removed on errors."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # OpenCV takes the kind of file from the suffix.
        self.unfinished = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
        path.parent.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        self.close(complete=error is None)
        if (error is None or issubclass(error, KeyboardInterrupt)) and self.unfinished.exists():
            self.unfinished.replace(self.path)
        self.unfinished.unlink(missing_ok=True)

    def close(self, *, complete: bool) -> None:
        """End the file."""
        raise NotImplementedError


class Film(_Growing):
    """The drawn frames as a video."""

    def __init__(self, path: Path, frames_per_second: float) -> None:
        super().__init__(path)
        self.frames_per_second = frames_per_second
        self.writer: cv2.VideoWriter | None = None

    def add(self, frame: Predicted) -> None:
        """Append a frame; the first one decides the size."""
        import cv2

        if self.writer is None:
            codec = cv2.VideoWriter.fourcc(*CODEC)
            self.writer = cv2.VideoWriter(str(self.unfinished), codec, self.frames_per_second, frame.drawn.size)
            if not self.writer.isOpened():
                raise DinotuneError(f"{self.path}: OpenCV cannot write videos here; use --write json")
        self.writer.write(np.ascontiguousarray(np.asarray(frame.drawn)[..., ::-1]))

    def close(self, *, complete: bool) -> None:  # noqa: ARG002
        """End the video, which makes it playable."""
        if self.writer is not None:
            self.writer.release()


class FrameList(_Growing):
    """What was `found` in each frame as JSON, a frame per line; `complete` at the end says whether all are there."""

    def __init__(self, path: Path, head: dict[str, Any], found: str) -> None:
        super().__init__(path)
        self.found = found
        self.file = self.unfinished.open("w", encoding="utf-8")
        self.file.write(json.dumps(head, ensure_ascii=False)[:-1] + ', "frames": [')
        self.separator = "\n"

    def add(self, frame: Predicted) -> None:
        """Append a frame."""
        entry = {"frame": frame.number, "seconds": round(frame.seconds, 3), self.found: frame.entries}
        self.file.write(self.separator + json.dumps(entry, ensure_ascii=False))
        self.separator = ",\n"

    def close(self, *, complete: bool) -> None:
        """End the JSON."""
        self.file.write(f'\n], "complete": {json.dumps(complete)}}}\n')
        self.file.close()
