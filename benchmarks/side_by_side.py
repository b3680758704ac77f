"""Measure things side by side: all of them in every round, so that what else the machine does falls on each alike.

A library that does not fit into our environment is measured in one of its own, by a small script in `peers/`.
"""

import datetime
import importlib.metadata
import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

Timer = Callable[[], float]
"""Does its work once and tells how many seconds that took."""
Times = Mapping[str, Sequence[float]]
"""Seconds of each round by name."""

FOLDER = Path(__file__).parent


def timed(work: Callable[[], object]) -> Timer:
    """Processor time of some work in this process: waiting for a core does not count."""
    return _by(time.process_time, work)


def on_the_clock(work: Callable[[], object]) -> Timer:
    """Time of some work on the clock: waiting for threads and processes counts."""
    return _by(time.perf_counter, work)


def _by(clock: Callable[[], float], work: Callable[[], object]) -> Timer:
    def run() -> float:
        start = clock()
        work()
        return clock() - start

    return run


def in_turn(timers: Mapping[str, Timer], rounds: int) -> Times:
    """Let each do its work once a round; a round before that warms up."""
    times: dict[str, list[float]] = {name: [] for name in timers}
    for _ in range(1 + rounds):
        for name, run in timers.items():
            times[name].append(run())
    return {name: own[1:] for name, own in times.items()}


def ratio(times: Times, name: str, other: str) -> float:
    """One's time as a share of another's, median of the rounds."""
    return statistics.median(own / its for own, its in zip(times[name], times[other], strict=True))


class PeerError(Exception):
    """Another library that cannot be measured here."""


class Peer:
    """A script of `peers/`, run by another environment's python; see `peers/serving.py`."""

    def __init__(self, python: str | None, script: str, *arguments: object) -> None:
        """Start it and wait until it is ready.

        Raises:
            PeerError: no such python, or what the script ended with.
        """
        if not python:
            raise PeerError("no environment was named")
        command = [python, str(FOLDER / "peers" / script), *map(str, arguments)]
        self.complaints = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the peer
        try:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.complaints, text=True
            )
        except OSError as error:
            raise PeerError(f"cannot be started: {error}") from error
        self.versions = self._answer("ready")

    def __call__(self) -> float:
        """Let it do its work once; the seconds that it measured."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self._answer("seconds"))

    def close(self) -> None:
        """End the script."""
        self.process.communicate()
        self.complaints.close()

    def _answer(self, word: str) -> str:
        """What follows this word at the beginning of a line; libraries print other lines too."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(f"{word} "):
                return line.removeprefix(f"{word} ").strip()
        self.process.wait()
        self.complaints.seek(0)
        said = [line.strip() for line in self.complaints.read().split("\n") if line.strip()]
        raise PeerError(next((line for line in reversed(said) if "Error" in line), " ".join(said[-1:])))


class Silent:
    """Watches a feature cache without a word."""

    def say(self, line: str) -> None: ...
    def start(self, description: str, batches: int) -> None: ...
    def advance(self) -> None: ...
    def check(self) -> None: ...


def machine(*packages: str) -> str:
    """Date, machine and versions, for the head of a result."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    return f"{datetime.date.today()}, {platform.machine()} with {os.cpu_count()} cores, {versions}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def publish(script: str, *paragraphs: str, arguments: str = "", about: str = "") -> None:
    """Print a result of a script and write it with its date.

    `arguments` are those of the command, as the script names them; `about` tells results of one script apart.
    """
    command = f"uv run python -m benchmarks.{script} {arguments}".strip()
    text = "\n\n".join([*paragraphs, f"Command: `{command}`"]) + "\n"
    path = FOLDER / "results" / f"{datetime.date.today()}-{'_'.join(filter(None, [script, about]))}.md"
    path.write_text(text, encoding="utf-8")
    print(f"{text}\nwritten to {path}")
