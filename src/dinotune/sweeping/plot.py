"""The picture of a sweep: the score of each combination with its spread, and its course during training."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dinotune.files import write_atomically
from dinotune.sweeping.results import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(rows: Sequence[Row], score: str, path: Path) -> None:
    """Write a PNG of the rows that have this score; nothing where none has."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # a second that only the end of a sweep should cost
    from matplotlib.figure import Figure

    shown = [row for row in rows if row.score(score) is not None]
    if not shown:
        return
    figure = Figure(figsize=(12, max(3.5, 1.5 + 0.45 * len(shown))), layout="constrained")
    FigureCanvasAgg(figure)
    scores, courses = figure.subplots(1, 2)
    _draw_scores(scores, shown, score)
    _draw_courses(courses, shown, score)
    write_atomically(path, lambda temporary: figure.savefig(temporary, format="png", dpi=120))


def _draw_scores(axes: "Axes", rows: Sequence[Row], score: str) -> None:
    """A bar to the mean, a line over the range, and a dot per run; the first row on top."""
    for place, row in enumerate(rows):
        spread = row.score(score)
        assert spread is not None
        values = spread.values
        axes.barh(place, spread.mean, color=f"C{place % 10}", alpha=0.5)
        axes.plot([min(values), max(values)], [place, place], color="black", linewidth=1)
        axes.plot(values, [place] * len(values), "k.", markersize=5)
    axes.set_yticks(range(len(rows)), [_plain(row.label) for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel(f"{score} (bar: mean; dots: runs)")


def _draw_courses(axes: "Axes", rows: Sequence[Row], score: str) -> None:
    """A line per run; over epochs where all runs have equally many, else over minutes."""
    results = [result for row in rows for result in row.results]
    by_epoch = len({result.epochs for result in results}) == 1
    for place, row in enumerate(rows):
        for number, result in enumerate(row.results):
            along = [point.epoch if by_epoch else point.minutes for point in result.curve]
            name = _plain(row.label) if number == 0 else None
            axes.plot(along, [point.score for point in result.curve], ".-", color=f"C{place % 10}", label=name)
    axes.set_xlabel("epochs" if by_epoch else "minutes of training")
    axes.set_ylabel(score)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.legend(fontsize="small")


def _plain(text: str) -> str:
    """Dollars would begin a formula."""
    return text.replace("$", r"\$")
