"""The examples are short, and run, with budgets that make them quick; own parts in them pass the generic checks."""

import runpy
import sys
from functools import partial
from pathlib import Path

import pytest

from dinotune import config
from dinotune.build import build_adapter
from dinotune.data.shapes import draw_shapes
from dinotune.heads.base import Head
from dinotune.own_parts import import_part
from dinotune.testing import check_adapter, check_head

EXAMPLES = Path(__file__).parents[2] / "examples"
TESTED = {"own_adapter", "own_head", "own_loop", "predict", "train_own_head"}


@pytest.fixture(autouse=True)
def _beside_the_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLES)
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])


def run(monkeypatch: pytest.MonkeyPatch, name: str, *words: str | Path) -> None:
    """An example as a program, in this process: starting Python and torch takes longer than most of them."""
    monkeypatch.setattr(sys, "argv", [name, *map(str, words)])
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")


def test_examples_are_exactly_those_tested_here() -> None:
    assert {path.stem for path in EXAMPLES.iterdir() if path.suffix} == TESTED


@pytest.mark.parametrize("name", sorted(TESTED))
def test_examples_are_short_and_say_what_they_are(name: str) -> None:
    text = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) < (60 if name == "own_loop" else 40)
    assert text.startswith('"""')


def test_own_loop(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run(monkeypatch, "own_loop", "6")
    lines = capsys.readouterr().out.splitlines()
    first, last = (float(line.split("loss ")[1].split()[0]) for line in lines if line.startswith("step"))
    assert last < first
    assert lines[-1].startswith("found ")


def test_own_head_trains_and_its_run_predicts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    draw_shapes(tmp_path / "shapes", train=8, val=2, test=1)
    monkeypatch.setattr("dinotune.data.shapes.draw_shapes", lambda folder, **_: folder)
    run(monkeypatch, "train_own_head", tmp_path, "1")
    assert "AP50 0." in capsys.readouterr().out
    picture = next((tmp_path / "shapes/images/test").iterdir())
    run(monkeypatch, "predict", tmp_path / "run", picture)
    assert f"{picture}: " in capsys.readouterr().out


def test_own_head_passes_the_generic_checks() -> None:
    head = import_part("own_head:CentreHead", Head, "head.kind")  # type: ignore[type-abstract]
    check_head(partial(head, {}))


def test_own_adapter_passes_the_generic_checks() -> None:
    settings = config.OwnAdapter(kind="own_adapter:ConvAdapter", options={"blocks": [0, 1]})
    check_adapter(lambda: build_adapter(settings) or pytest.fail("no adapter"))
