"""Who is told what a cache does, and asked whether it should go on."""

from typing import Protocol

from dinotune.errors import DinotuneError


class StoppedError(DinotuneError):
    """The watcher did not want to go on; what was computed is kept."""


class Watcher(Protocol):
    """Shows what happens, and may stop it."""

    def say(self, line: str) -> None:
        """Take a sentence."""

    def start(self, description: str, batches: int) -> None:
        """Something of so many batches begins."""

    def advance(self) -> None:
        """A batch is done."""

    def check(self) -> None:
        """Raise StoppedError where it should not go on."""
