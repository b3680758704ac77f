"""Rows put seeds together; the table says mean, range, change and what failed."""

import csv
import io
from pathlib import Path

import pytest

from dinotune.config.tasks import SCORES
from dinotune.sweeping.plot import draw
from dinotune.sweeping.results import Point, Result, Row, Run, change_from, ranges_overlap, read_result, rows_of
from dinotune.sweeping.tables import comma_separated, markdown, numbers

AP = SCORES["detection"]


def result(ap: float | None, *, epochs: int = 4, memory: float = 1.0) -> Result:
    learning = {"backbone": 0, "adapter": 12_345, "head": 2_500_000}
    curve = tuple(Point(epoch, epoch / 2, (ap or 0) * epoch / epochs) for epoch in range(1, epochs + 1))
    return Result({"AP": ap, "AP50": ap and 2 * ap}, 3, epochs, 2.0, memory, learning, "cpu", curve)


def run(adapter: str, seed: int, ap: float | None = None, error: str = "") -> Run:
    values = {"adapter": adapter, "seed": str(seed)}
    if ap is None:
        return Run(values, f"{adapter}-{seed}", "failed" if error else "waiting", error)
    return Run(values, f"{adapter}-{seed}", "finished", error, result(ap))


def rows(*runs: Run) -> list[Row]:
    return rows_of(runs)


def test_seeds_are_one_row_with_mean_and_range() -> None:
    first, second = rows(run("a", 0, 0.3), run("b", 0, 0.35), run("a", 1, 0.4), run("b", 1, 0.5))
    assert (first.label, second.label) == ("adapter=a", "adapter=b")
    ap = first.score("AP")
    assert ap is not None
    assert ap.values == (0.3, 0.4)
    assert ap.mean == pytest.approx(0.35)
    assert ap.std == pytest.approx(0.0707, abs=1e-4)
    assert change_from(first, second, "AP") == pytest.approx(0.075)
    assert (
        "| adapter=b | 2 | 0.425 (0.350-0.500) | 0.850 (0.700-1.000) | +0.075, ranges overlap | 0/12.3k/2.5M | 2.0 | 1.00 | 3, 3 of 4 |"
        in markdown([first, second], AP)
    )


@pytest.mark.parametrize(
    ("second", "overlap"),
    [((0.35, 0.5), True), ((0.41, 0.5), False), ((0.1, 0.29), False), ((0.2, 0.9), True), ((0.4, 0.5), True), ((0.5,), None)],
)  # fmt: skip
def test_overlap_of_the_ranges(second: tuple[float, ...], overlap: bool | None) -> None:
    runs = [run("a", 0, 0.3), run("a", 1, 0.4), *(run("b", seed, ap) for seed, ap in enumerate(second))]
    first, other = rows(*runs)
    assert ranges_overlap(first, other, "AP") is overlap
    assert ranges_overlap(first, first, "AP") is None


def test_failed_and_waiting_runs_are_in_the_table() -> None:
    table = rows(run("a", 0, 0.3), run("b", 0, error="out of | memory"), run("b", 1), run("a", 1, 0.4, "FAIL: AP50"))
    page = markdown(table, AP)
    assert "| adapter=b | 0 of 2 |  |  |  |  |  |  |  |" in page
    assert "- adapter=b: out of | memory" in page
    assert "- adapter=a: FAIL: AP50" in page
    assert "| adapter=a | 2 | 0.350" in page, "a run that missed its goal is measured"
    lines = list(csv.DictReader(io.StringIO(comma_separated(table, AP))))
    assert [line["errors"] for line in lines] == ["FAIL: AP50", "out of | memory"]
    assert float(lines[0]["AP"]) == pytest.approx(0.35)
    assert numbers(table[0], table[0], AP)["head_parameters"] == 2_500_000


def test_a_split_without_objects_has_no_ap(tmp_path: Path) -> None:
    table = rows(run("a$b$", 0, 0.3), Run({"adapter": "b"}, "b", "finished", "", result(None)))
    assert (table[1].score("AP"), change_from(table[0], table[1], "AP")) == (None, None)
    draw(table[1:], "AP", tmp_path / "plot.png")
    assert not (tmp_path / "plot.png").exists()
    draw(table, "AP", tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_a_finished_run_is_read(finished_run: Path) -> None:
    found = read_result(finished_run, AP)
    assert max(point.score for point in found.curve) == pytest.approx(found.scores["AP"])
    assert [point.epoch for point in found.curve] == [1, 2]
    assert 0 < found.curve[0].minutes < found.curve[1].minutes == found.minutes
    assert found.best_epoch in (1, 2)
    assert 0.1 < found.memory_gb < 64
    assert found.learning_parameters == {"backbone": 50304, "adapter": 0, "head": 36979}
