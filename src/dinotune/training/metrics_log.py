"""`metrics.jsonl` (a line per logged step and per epoch), `metrics.csv` (per epoch) and TensorBoard scalars."""

import csv
import io
import json
import math
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from dinotune.errors import DinotuneError
from dinotune.files import write_text

Value = float | int | str | None


def plain(values: dict[str, Value]) -> dict[str, Value]:
    """Numbers that JSON knows: NaN and infinity become null."""
    return {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in values.items()}


class MetricsLog:
    """Appends to the files of one run; on resume, lines of work that is done again are cut off first."""

    def __init__(self, folder: Path, *, keep_lines: int = 0, step: int = 0) -> None:
        self.path = folder / "metrics.jsonl"
        self.csv_path = folder / "metrics.csv"
        kept = _first_lines(self.path, keep_lines) if keep_lines else []
        write_text(self.path, "".join(f"{line}\n" for line in kept))
        self.lines = len(kept)
        self.epochs = [line for line in map(json.loads, kept) if line["kind"] == "epoch"]
        self.tensorboard = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def step(self, values: dict[str, Value]) -> None:
        """Log a training step; `values` holds `epoch` and `step`."""
        self._append({"kind": "step", **values}, "train")

    def epoch(self, values: dict[str, Value]) -> None:
        """Log a finished epoch and write the CSV anew."""
        self._append({"kind": "epoch", **values}, "epoch")
        self.epochs.append(plain({"kind": "epoch", **values}))
        self._write_csv()

    def _append(self, line: dict[str, Value], section: str) -> None:
        line = plain(line)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self.lines += 1
        for name, value in line.items():
            if isinstance(value, float | int) and name not in ("epoch", "step"):
                self.tensorboard.add_scalar(f"{section}/{name}", value, int(line["step"] or 0))

    def _write_csv(self) -> None:
        names = list(dict.fromkeys(name for line in self.epochs for name in line if name != "kind"))
        text = io.StringIO()
        writer = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.epochs)
        write_text(self.csv_path, text.getvalue())

    def close(self) -> None:
        """Flush TensorBoard."""
        self.tensorboard.close()


def _first_lines(path: Path, count: int) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    if len(lines) < count:
        raise DinotuneError(
            f"{path}: {len(lines)} lines, but the checkpoint counts {count}; put the file back, or start a new run"
        )
    return lines[:count]
