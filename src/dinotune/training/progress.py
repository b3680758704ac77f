"""What training shows: a bar with loss, speed, memory and time left, and one line per epoch in `train.log` too."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar


class Progress:
    """The bar (on a terminal only) and the log of one run."""

    def __init__(self, log_file: Path | None, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, soft_wrap=True)
        self.log_file = log_file
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[detail]}"),
            TimeRemainingColumn(),
        )
        self.bar = Bar(*columns, console=self.console, transient=True, disable=not self.console.is_terminal)
        self.task = self.bar.add_task("", total=None, detail="")
        self.shown: int | None = None

    def __enter__(self) -> "Progress":
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def say(self, line: str) -> None:
        """One line on the terminal and in the log file."""
        self.console.print(line, markup=False)
        self.log(line)

    def log(self, line: str) -> None:
        """One line in the log file alone."""
        if self.log_file is not None:
            with self.log_file.open("a", encoding="utf-8") as file:
                file.write(line + "\n")

    def start(self, description: str, batches: int) -> None:
        """Start a plain bar."""
        self.bar.reset(self.task, description=description, total=batches, detail="")

    def advance(self) -> None:
        """Move a plain bar by one."""
        self.bar.update(self.task, advance=1)

    def training(self, epoch: int, batches: int) -> None:
        """Start the bar of an epoch, once."""
        if self.shown != epoch:
            self.shown = epoch
            self.start(f"epoch {epoch + 1}", batches)

    def step(self, loss: float | None, pictures_per_second: float, memory_gb: float) -> None:
        """Move the bar by one step."""
        shown = "skipped" if loss is None else f"loss {loss:.3f}"
        detail = f"{shown}  {pictures_per_second:.1f} pictures/s  {memory_gb:.1f} GB"
        self.bar.update(self.task, advance=1, detail=detail)

    def evaluating(self) -> None:
        """Say that the split is being evaluated."""
        self.bar.update(self.task, detail="evaluating")

    def epoch(self, line: dict[str, Any], improved: list[str], epochs: int, scores: Sequence[str]) -> None:
        """The one line of an epoch, with these scores where it was evaluated."""
        parts = [f"epoch {line['epoch'] + 1}/{epochs}"]
        for name, label in (("train_loss", "train"), ("val_loss", "val")):
            if line.get(name) is not None:
                parts.append(f"{label} {line[name]:.4f}")
        parts += [f"{name} {line[name]:.4f}" for name in scores if line.get(name) is not None]
        parts += [f"lr {line['learning_rate']:.2e}", f"{line['seconds']:.1f} s"]
        if improved:
            parts.append(f"best {' and '.join(improved)}")
        self.say("  ".join(parts))
