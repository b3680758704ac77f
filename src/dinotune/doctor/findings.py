"""What the doctor says: a finding per line."""

from dataclasses import dataclass
from enum import StrEnum

GIB = 2**30


class Level(StrEnum):
    """How bad a finding is; `fail` prevents training with the usual settings, `late` was not learned in time."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    LATE = "late"


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    level: Level
    topic: str
    message: str
    remedy: str = ""
    """What to do; empty where all is well."""


def in_gib(size: int) -> str:
    """Bytes in words."""
    return f"{size / GIB:.1f} GiB"
