"""What tells that a picture and its labels are still those whose features were kept."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dinotune.data.records import ImageRecord, Records


@dataclass(frozen=True)
class FileStamp:
    """A file as it was: name, size in bytes, time of its last change in nanoseconds, and hash."""

    name: str
    size: int
    modified: int
    digest: str

    @classmethod
    def of(cls, path: Path) -> "FileStamp":
        """The file as it is."""
        state = path.stat()
        return cls(
            _name(path),
            state.st_size,
            state.st_mtime_ns,
            hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest(),
        )

    def holds(self, path: Path) -> bool:
        """Whether the file has the same content; it is read only where name or time of change are others."""
        try:
            state = path.stat()
        except OSError:
            return False
        if state.st_size != self.size:
            return False
        unchanged = (self.name, self.modified) == (_name(path), state.st_mtime_ns)
        return unchanged or FileStamp.of(path).digest == self.digest

    def to_json(self) -> list[Any]:
        """Plain values."""
        return [self.name, self.size, self.modified, self.digest]


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
        return [self.picture.to_json(), None if self.mask is None else self.mask.to_json(), self.labels]

    @classmethod
    def from_json(cls, value: list[Any]) -> "Stamp":
        """From plain values."""
        picture, mask, labels = value
        return cls(FileStamp(*picture), None if mask is None else FileStamp(*mask), labels)


class Stamps(dict[int, Stamp]):
    """Stamps of the pictures of a split by image id, each made once."""

    def __init__(self, records: Records) -> None:
        super().__init__()
        self._records = records
        self._rows = records.rows

    def __missing__(self, image_id: int) -> Stamp:
        """The stamp of the picture as it is. OSError where it cannot be read."""
        self[image_id] = Stamp.of(self._records[self._rows[image_id]])
        return self[image_id]


def _name(path: Path) -> str:
    """What tells files of a data set apart, wherever it lies."""
    return "/".join(path.parts[-2:])


def _labels(record: ImageRecord) -> str:
    coding = None if record.mask is None else record.mask.coding
    digest = hashlib.blake2b(repr((record.height, record.width, record.image_label, coding)).encode(), digest_size=16)
    for column in (record.boxes, record.labels, record.crowd, record.areas):
        digest.update(np.ascontiguousarray(column).tobytes())
    digest.update("\n".join(record.segments or ()).encode())
    return digest.hexdigest()
