"""The page on what is done is complete and names commands, recipes, settings and tests that are there."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from dinotune import cli
from dinotune.config.loading import load_experiment
from dinotune.config.recipes import MODIFIERS, RECIPES, names

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/coverage.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line.split("|")[1:-1]] for line in PAGE.splitlines() if re.match(r"\| [A-Z]\d", line)]
COUNTS = {"B": 4, "A": 4, "D": 5, "S": 2, "C": 2, "T": 7, "R": 5, "E": 3, "W": 5, "U": 3}
COMMANDS = re.findall(r"`dinotune ([^`]+)`", PAGE)
VERBS = typer.main.get_command(cli.app)


def test_every_feature_has_a_row() -> None:
    assert [row[0] for row in ROWS] == [f"{letter}{n}" for letter, count in COUNTS.items() for n in range(1, count + 1)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_row_says_what_proves_it_or_what_is_missing(row: list[str]) -> None:
    _, feature, state, proof, missing = row
    assert feature
    assert state in ("yes", "partly", "not yet")
    assert proof or state == "not yet"
    assert missing or state == "yes"


def test_tests_exist() -> None:
    named = set(re.findall(r"tests/[\w/]+(?:\.py)?", PAGE))
    assert len(named) > 50
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_one(command: str) -> None:
    verb, *words = shlex.split(command)
    known = VERBS.commands[verb]  # type: ignore[attr-defined]
    options = {option for parameter in known.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options


@pytest.mark.parametrize("command", [each for each in COMMANDS if re.match(r"(train|sweep|probe) \w", each)])
def test_recipes_and_settings_of_a_command_are_there(command: str) -> None:
    words = shlex.split(command)[1:]
    recipe, *modifiers = (word for word in words if "=" not in word)
    assert recipe in names(RECIPES)
    assert set(modifiers) <= set(names(MODIFIERS))
    load_experiment(recipe, modifiers, [word.split(",")[0] for word in words if "=" in word], {})
