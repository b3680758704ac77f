"""Ctrl-C and SIGTERM: the first asks to stop after the current step, the second stops at once."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from dinotune.errors import DinotuneError


class InterruptedRunError(DinotuneError):
    """Training was asked to stop; `exit_code` is 128 + the signal's number."""

    def __init__(self, signal_number: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


ONE_PRESS_SECONDS = 0.5
"""Launchers pass a signal on to a process that also got it from the terminal; both copies are one request."""


class StopRequest:
    """Remembers the first signal; the second raises InterruptedRunError where the program stands."""

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._received_at = float("-inf")

    def receive(self, number: int, _: FrameType | None) -> None:
        """Signal handler."""
        before, self._received_at = self._received_at, time.monotonic()
        if self._received_at - before < ONE_PRESS_SECONDS:
            return
        if self.signal_number is not None:
            raise InterruptedRunError(number, "stopped at once; the last checkpoint on disk holds what can be resumed")
        self.signal_number = number

    def install(self) -> dict[int, Any]:
        """Handle SIGINT and SIGTERM from here on; returns the old handlers. Only the main thread can."""
        if threading.current_thread() is not threading.main_thread():
            return {}
        return {number: signal.signal(number, self.receive) for number in (signal.SIGINT, signal.SIGTERM)}

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle SIGINT and SIGTERM inside, restore the old handlers afterwards."""
        before = self.install()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
