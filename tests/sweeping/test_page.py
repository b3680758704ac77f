"""The commands and the example on the page about sweeps are valid."""

import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

import dinotune
from dinotune.sweeping.combinations import combine
from dinotune.sweeping.grammar import parse
from dinotune.sweeping.results import rows_of
from dinotune.sweeping.run import Sweep
from tests.sweeping.test_results import run

PAGE = (Path(__file__).parents[2] / "docs/how-to/sweep.md").read_text(encoding="utf-8")


def commands() -> Iterator[list[str]]:
    for block in re.findall(r"^```bash\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE):
        for line in block.splitlines():
            yield shlex.split(line)


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_command_names_combinations(words: list[str]) -> None:
    program, verb, experiments, *rest = words
    assert (program, verb) == ("dinotune", "sweep")
    settings = [word for word in rest if "=" in word]
    left = {word for word in rest if word not in settings and not word.startswith(("--", "runs/", "10"))}
    assert left == set()
    combinations, _ = combine({name: name for name in experiments.split(",")}, (), parse(settings))
    assert len(combinations) > 1


def test_example_calls_what_is_there_and_prints_its_rows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def sweep(experiment: str, words: list[str], **budget: object) -> Sweep:
        assert set(budget) <= set(inspect.signature(original).parameters)
        combinations, _ = combine({experiment: experiment}, (), parse(words))
        return Sweep(Path("runs"), tuple(rows_of([run("a", seed, 0.25) for seed in range(len(combinations))])))

    original = dinotune.sweep
    monkeypatch.setattr("dinotune.sweeping.sweep", sweep)
    (example,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    exec(compile(example, "sweep.md", "exec"), {})
    assert capsys.readouterr().out == "adapter=a 0.25 (0.25, 0.25, 0.25)\n"
