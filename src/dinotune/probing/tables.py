"""The table of a probe, for the terminal and as Markdown."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from dinotune.probing.competition import Row, best_of_each


def print_rows(rows: Sequence[Row]) -> None:
    """Print the table; the best of each method stands out."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    best = best_of_each(rows)
    for column in _columns(rows):
        table.add_column(column)
    for row in rows:
        table.add_row(*_cells(row), style="bold" if row in best else None)
    Console().print(table)


def markdown(rows: Sequence[Row]) -> str:
    """The table as Markdown; the best of each method in bold."""
    columns, best = _columns(rows), best_of_each(rows)
    lines = [columns, ("---",) * len(columns)]
    lines += [tuple(f"**{cell}**" if row in best else cell for cell in _cells(row)) for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _columns(rows: Sequence[Row]) -> tuple[str, ...]:
    return ("classifier", "with", *rows[0].numbers)


def _cells(row: Row) -> tuple[str, ...]:
    return (row.method, row.option, *("-" if value is None else f"{value:.3f}" for value in row.numbers.values()))
