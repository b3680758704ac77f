"""Options made from a settings class: names, kinds, defaults and words of its fields."""

import inspect
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from dinotune import config
from dinotune.config.base import Count, Section, Switch
from dinotune.options import options_of


class Things(Section):
    """Settings of a command."""

    count_of: Count = 3
    """How many there are."""
    share: float | None = None
    """How much of it."""
    on: Switch = True
    """Whether it is on."""
    words: tuple[str, ...] = ("a", "b")
    """Which words."""


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], {"count_of": 3, "share": None, "on": True, "words": "a,b"}),
        (
            ["--count-of", "4", "--share", "0.5", "--no-on", "--words", "c"],
            {"count_of": 4, "share": 0.5, "on": False, "words": "c"},
        ),
    ],
)
def test_a_command_gets_each_field(given: list[str], expected: dict[str, Any]) -> None:
    seen: list[Any] = []
    app = typer.Typer()

    @app.command()
    @options_of(Things)
    def command(place: Annotated[Path, typer.Argument()], **options: Any) -> None:
        """Do things."""
        seen.extend([place, options])

    assert CliRunner().invoke(app, ["here", *given]).exit_code == 0
    assert seen == [Path("here"), expected]
    help_ = CliRunner().invoke(app, ["--help"]).output
    assert all(field.description and field.description in help_ for field in Things.model_fields.values())


def test_wrong_kinds_are_usage_errors() -> None:
    app = typer.Typer()
    app.command()(options_of(Things)(lambda **_: None))
    assert CliRunner().invoke(app, ["--count-of", "many"]).exit_code == 2


def test_every_setting_of_the_prediction_is_described() -> None:
    for field in config.Prediction.model_fields.values():
        assert field.description
        assert field.description.endswith(".")
    assert inspect.getdoc(config.Prediction)
