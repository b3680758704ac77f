"""Tables of the command line: recipes, settings, heads, runs, backbones."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from dinotune.backbones.catalog import backbone_rows
from dinotune.config.experiment import Experiment
from dinotune.config.fields import sections
from dinotune.config.recipes import MODIFIERS, RECIPES, header, names
from dinotune.config.reference import settings_reference
from dinotune.config.tasks import SCORES
from dinotune.data.problems import counted

NUMBERS = ("objects", "pictures", "pixels")
"""How much of a class there is; a task counts one of them."""

MOST_CLASSES = 40
"""Classes of an evaluation that are printed; its metrics.json has all."""


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; long cells fold."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(cell.replace("[", r"\[") for cell in row))
    Console().print(table)


def print_backbones(size_hw: tuple[int, int] | None) -> None:
    """Print the DINO models with their numbers, and the patch grid for a size."""
    for row in backbone_rows(size_hw):
        grid = [f"grid {row.grid_hw[0]}x{row.grid_hw[1]} {row.note}".rstrip()] if row.grid_hw else []
        words = [
            f"{row.parameters:,} parameters",
            f"width {row.width}",
            f"depth {row.depth}",
            f"patch {row.patch_size}",
            *grid,
            row.licence + (" (gated)" if row.gated else ""),
            *([f"here: {row.local}"] if row.local else []),
        ]
        print(f"{row.id}  or  {row.timm_id}\n    {', '.join(words)}")


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
    """Print the runs below a folder with the scores that each reached."""
    runs = sorted(path.parent for path in folder.glob("*/experiment.yaml") if not path.parent.is_symlink())
    if not runs:
        Console().print(f"No runs in {folder}; dinotune quickstart makes one")
        return
    print_table("Runs", ("run", "scores"), [(str(run), _scores(run)) for run in runs])


def print_metrics(metrics: Mapping[str, Any]) -> None:
    """Print the scores, the classes, and where everything lies."""
    shown = [f"{name} {_cell(value)}" for name, value in metrics.items() if value is None or isinstance(value, float)]
    print(f"On {metrics['images']} pictures: {'  '.join(shown)}")
    _print_classes(metrics["per_class"])
    print(f"Metrics and predictions: {metrics['folder']}")


def _print_classes(classes: Mapping[str, Mapping[str, Any]]) -> None:
    """The classes that the data shows, in their order; of many, the most frequent."""
    columns = next((tuple(values) for values in classes.values()), ("objects",))
    number = next(column for column in columns if column in NUMBERS)
    shown = [name for name, values in classes.items() if values[number]]
    if len(shown) > MOST_CLASSES:
        shown = sorted(shown, key=lambda name: -classes[name][number])[:MOST_CLASSES]
    ordered = (number, *(column for column in columns if column != number))
    rows = [(name, *(_cell(classes[name][column]) for column in ordered)) for name in shown]
    at = " (at the threshold of the best F1, IoU 0.5)" if "threshold" in columns else ""
    print_table(f"Classes{at}", ("class", *ordered), rows)
    if len(shown) < len(classes):
        print(f"{counted(len(classes) - len(shown), 'class')} with fewer or no {number}: metrics.json has all")


def _scores(run: Path) -> str:
    """Those that tables have of the run's task."""
    try:
        metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    of_task = next((scores.table for scores in SCORES.values() if scores.best in metrics), ())
    return "  ".join(f"{name} {_cell(metrics[name])}" for name in of_task if name in metrics)


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
