"""Tables of the command line: recipes, settings, heads, runs, backbones."""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from dinotune.config.experiment import Experiment
from dinotune.config.fields import sections
from dinotune.config.recipes import MODIFIERS, RECIPES, header, names
from dinotune.config.reference import settings_reference


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; long cells fold."""
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(cell.replace("[", r"\[") for cell in row))
    Console().print(table)


def print_rows(title: str, rows: Sequence[Any]) -> None:
    """Print a list of dataclass objects, a column per field."""
    columns = [field.name for field in dataclasses.fields(rows[0])]
    cells = [[_cell(getattr(row, column)) for column in columns] for row in rows]
    print_table(title, [column.replace("_", " ") for column in columns], cells)


def print_recipes() -> None:
    """Print recipes and modifiers with the lines that they open with."""
    for title, folder in (("Recipes", RECIPES), ("Modifiers", MODIFIERS)):
        print_table(title, ("name", "what"), [(name, "\n".join(header(name, folder))) for name in names(folder)])


def print_settings() -> None:
    """Print every setting: two plain lines each, easy to search."""
    for row in settings_reference():
        kind = f", of kind {row.kind}" if row.kind else ""
        print(f"{row.key} = {row.default}  ({row.type}{kind})\n    {row.sentence}")


def print_heads() -> None:
    """Print the heads with the first line of their description."""
    heads = sections(Experiment.model_fields["head"])
    rows = [(str(kind), (section.__doc__ or "").splitlines()[0]) for kind, section in heads.items()]
    print_table("Heads", ("kind", "what"), rows)


def print_runs(folder: Path) -> None:
    """Print the runs below a folder with the AP that each reached."""
    runs = sorted(path.parent for path in folder.glob("*/experiment.yaml") if not path.parent.is_symlink())
    if not runs:
        Console().print(f"No runs in {folder}; dinotune quickstart makes one")
        return
    print_table("Runs", ("run", "AP", "AP50"), [(str(run), *_scores(run)) for run in runs])


def _scores(run: Path) -> tuple[str, str]:
    try:
        metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "", ""
    return _cell(metrics.get("AP", "")), _cell(metrics.get("AP50", ""))


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, tuple | list):
        return "x".join(str(member) for member in value)
    return "" if value is None else str(value)
