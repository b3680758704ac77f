"""What tells that a picture and its labels are still those whose features were kept."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dinotune.data.records import ImageRecord


@dataclass(frozen=True)
class FileStamp:
    """A file as it was: size in bytes, time of its last change in nanoseconds, and hash."""

    size: int
    modified: int
    digest: str

    @classmethod
    def of(cls, path: Path) -> "FileStamp":
        """The file as it is."""
        state = path.stat()
        return cls(state.st_size, state.st_mtime_ns, hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest())

    def holds(self, path: Path) -> bool:
        """Whether the file has the same content; it is read only where its time of change is another."""
        try:
            state = path.stat()
        except OSError:
            return False
        if state.st_size != self.size:
            return False
        return state.st_mtime_ns == self.modified or FileStamp.of(path).digest == self.digest


@dataclass(frozen=True)
class Stamp:
    """A picture with its labels."""

    picture: FileStamp
    mask: FileStamp | None
    labels: str
    """Hash of all labels that are not files."""

    @classmethod
    def of(cls, record: ImageRecord) -> "Stamp":
        """A picture as it is. OSError where it cannot be read."""
        mask = None if record.mask is None else FileStamp.of(record.mask.path)
        return cls(FileStamp.of(record.path), mask, _labels(record))

    def holds(self, record: ImageRecord) -> bool:
        """Whether picture and labels are the same."""
        if (self.mask is None) != (record.mask is None) or self.labels != _labels(record):
            return False
        masks = self.mask is None or record.mask is None or self.mask.holds(record.mask.path)
        return masks and self.picture.holds(record.path)

    def to_json(self) -> list[Any]:
        """Plain values."""
        mask = None if self.mask is None else [self.mask.size, self.mask.modified, self.mask.digest]
        return [[self.picture.size, self.picture.modified, self.picture.digest], mask, self.labels]

    @classmethod
    def from_json(cls, value: list[Any]) -> "Stamp":
        """From plain values."""
        picture, mask, labels = value
        return cls(FileStamp(*picture), None if mask is None else FileStamp(*mask), labels)


def _labels(record: ImageRecord) -> str:
    coding = None if record.mask is None else record.mask.coding
    digest = hashlib.blake2b(repr((record.height, record.width, record.image_label, coding)).encode(), digest_size=16)
    for column in (record.boxes, record.labels, record.crowd):
        digest.update(np.ascontiguousarray(column).tobytes())
    digest.update("\n".join(record.segments or ()).encode())
    return digest.hexdigest()
