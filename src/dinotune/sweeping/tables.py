"""The table of a sweep: for the terminal, as Markdown, and as CSV with every number."""

import csv
import io
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from dinotune.config.tasks import Scores
from dinotune.sweeping.results import Result, Row, Spread, change_from, ranges_overlap

PARTS = ("backbone", "adapter", "head")


def print_table(rows: Sequence[Row], scores: Scores) -> None:
    """Print the table; long cells fold."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), caption=_legend(scores), caption_justify="left")
    first, *others = _columns(scores)
    table.add_column(first, overflow="fold", no_wrap=True)
    for column in others:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(cell.replace("[", r"\[") for cell in _cells(row, rows[0], scores)))
    console = Console()
    console.print(table)
    for line in _errors(rows):
        console.print(line, markup=False, highlight=False)


def markdown(rows: Sequence[Row], scores: Scores) -> str:
    """The table and its errors as Markdown."""
    columns = _columns(scores)
    lines = [columns, ("---",) * len(columns), *(_cells(row, rows[0], scores) for row in rows)]
    table = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines]
    return "\n".join([*table, "", f"{_legend(scores)}.", *(f"\n- {line}" for line in _errors(rows))]) + "\n"


def comma_separated(rows: Sequence[Row], scores: Scores) -> str:
    """A line per combination, every number in a column of its own."""
    lines = [numbers(row, rows[0], scores) for row in rows]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def numbers(row: Row, first: Row, scores: Scores) -> dict[str, object]:
    """Every number of a row by its name."""
    some: Result | None = row.results[0] if row.results else None
    spreads: dict[str, object] = {}
    for name in scores.table:
        spread = row.score(name)
        spreads |= {
            name: spread and spread.mean,
            f"{name}_lowest": spread and min(spread.values),
            f"{name}_highest": spread and max(spread.values),
            f"{name}_std": spread and spread.std,
        }
    return {
        "combination": row.label,
        "runs": len(row.results),
        **spreads,
        "change": change_from(first, row, scores.best),
        "ranges_overlap": ranges_overlap(first, row, scores.best),
        **{f"{part}_parameters": some and some.learning_parameters[part] for part in PARTS},
        "minutes": row.minutes and row.minutes.mean,
        "memory_gb": some and max(result.memory_gb for result in row.results),
        "best_epochs": " ".join(str(result.best_epoch) for result in row.results),
        "device": some and some.device,
        "errors": "; ".join(row.errors),
    }


def _columns(scores: Scores) -> tuple[str, ...]:
    return ("combination", "runs", *scores.table, "change", "learns", "minutes", "GB", "best epoch")


def _legend(scores: Scores) -> str:
    return (
        f"{' and '.join(scores.table)}: mean (lowest-highest) over seeds, each run's best evaluation; change of the "
        f"mean {scores.best} from the first row; learns: parameters of backbone/adapter/head; minutes with "
        "evaluations; GB: highest memory"
    )


def _cells(row: Row, first: Row, scores: Scores) -> tuple[str, ...]:
    done = len(row.results)
    return (
        row.label,
        str(done) if done == row.runs else f"{done} of {row.runs}",
        *(_range(row.score(name)) for name in scores.table),
        _change(first, row, scores.best),
        "/".join(_short(row.results[0].learning_parameters[part]) for part in PARTS) if row.results else "",
        "" if row.minutes is None else f"{row.minutes.mean:.1f}",
        f"{max(result.memory_gb for result in row.results):.2f}" if row.results else "",
        _best_epochs(row),
    )


def _errors(rows: Sequence[Row]) -> list[str]:
    return [f"{row.label}: {error}" for row in rows for error in row.errors]


def _range(spread: Spread | None) -> str:
    if spread is None:
        return ""
    mean = f"{spread.mean:.3f}"
    if len(spread.values) == 1:
        return mean
    return f"{mean} ({min(spread.values):.3f}-{max(spread.values):.3f})"


def _best_epochs(row: Row) -> str:
    ends = {result.epochs for result in row.results}
    if len(ends) == 1:
        return f"{', '.join(str(result.best_epoch) for result in row.results)} of {ends.pop()}"
    return ", ".join(f"{result.best_epoch} of {result.epochs}" for result in row.results)


def _change(first: Row, row: Row, score: str) -> str:
    change, overlap = change_from(first, row, score), ranges_overlap(first, row, score)
    ranges = {None: "", True: ", ranges overlap", False: ", ranges apart"}[overlap]
    return "" if change is None else f"{change:+.3f}{ranges}"


def _short(count: int) -> str:
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if count >= size:
            return f"{count / size:.3g}{letter}"
    return str(count)
