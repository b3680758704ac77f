"""One `dinotune` command at a time in a process of its own, which signals reach and whose errors are kept.

A process each, for the seconds it takes to start: nothing one training leaves behind (memory above all, or a crash)
touches the next, and the highest memory is its own.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from dinotune.config.overrides import PREFIX


class Children:
    """Starts commands; `stopped_by` is the signal that asked for an end."""

    def __init__(self) -> None:
        self.stopped_by: int | None = None
        self._running: subprocess.Popen[str] | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Inside, Ctrl-C and SIGTERM ask the running command to stop and are remembered."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._receive) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def run(self, words: Sequence[str]) -> tuple[int, str]:
        """Exit status of `dinotune WORDS` (minus the signal's number where one killed it), and what it said on stderr.

        Settings in the environment are in the experiment already, so the command does not see them.
        """
        environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        command = [sys.executable, "-m", "dinotune", *words]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
            self._running = process
            assert process.stderr is not None
            said = []
            for line in process.stderr:
                sys.stderr.write(line)
                said.append(line)
        self._running = None
        return process.returncode, "".join(said)

    def _receive(self, number: int, _: FrameType | None) -> None:
        self.stopped_by = number
        if self._running is not None:
            # From a terminal it has come there already; a scheduler sends it to the first process alone.
            self._running.send_signal(number)


def why_ended(code: int, said: str) -> str:
    """Why a command failed, for people; empty where it did not."""
    if code == 0:
        return ""
    if code < 0:
        lack = "; the system does that where memory runs out" if code == -signal.SIGKILL else ""
        return f"killed by {signal.Signals(-code).name}{lack}"
    lines = [line for line in said.splitlines() if line.strip()]
    if any(line.startswith("Traceback") for line in lines):
        # The crash, then the wish to report it.
        return lines[-2] if len(lines) > 1 else lines[-1]
    return "\n".join(lines) or f"exit status {code}"
