"""How far a prediction is: a bar with speed on terminals, and one line about it at the end."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dinotune.data.problems import counted


class Counter:
    """Counts what is done and shows it."""

    def __init__(self, bar: Progress, total: int | None, unit: str) -> None:
        self.done = 0
        self.found = 0
        self.unit = unit
        self.started = time.monotonic()
        self.bar = bar
        self.task = bar.add_task("predicting", total=total, detail="")

    def advance(self, found: int) -> None:
        """One more is done, with so much found in it."""
        self.done += 1
        self.found += found
        self.bar.update(self.task, advance=1, detail=f"{self.speed:.1f} {self.unit}/s")

    @property
    def speed(self) -> float:
        """Per second, since the start."""
        return self.done / max(time.monotonic() - self.started, 1e-6)


def say(line: str) -> None:
    """One line on the terminal."""
    Console(highlight=False, soft_wrap=True).print(line, markup=False)


@contextmanager
def counting(what: str, total: int | None, unit: str, noun: str) -> Iterator[Counter]:
    """Count to `total` (unknown: none) on a bar; at the end say what was found (the `noun`, if any) and how fast, interrupted or not."""
    console = Console(highlight=False, soft_wrap=True)
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn())
    more = (TextColumn("{task.fields[detail]}"), TimeRemainingColumn())
    with Progress(*columns, *more, console=console, transient=True, disable=not console.is_terminal) as bar:
        counter = Counter(bar, total, unit)
        try:
            yield counter
        except KeyboardInterrupt:
            what = f"{what}: stopped"
            raise
        finally:
            of_all = f" of {total}" if total is not None and total != counter.done else ""
            units = unit.removesuffix("s") if counter.done == 1 and not of_all else unit
            found = f", {counted(counter.found, noun)}" if noun else ""
            console.print(f"{what}: {counter.done}{of_all} {units}{found}, {counter.speed:.1f} {unit}/s", markup=False)
            if counter.done and not counter.found:
                console.print(
                    "nothing reaches the thresholds; a lower --threshold shows what is less sure", markup=False
                )
