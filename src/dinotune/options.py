"""Words and options of commands; options are made from a settings class, so that both have the same names and defaults."""

import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

import typer
from pydantic.fields import FieldInfo

from dinotune.config.base import Section
from dinotune.config.fields import field_options
from dinotune.errors import SettingsError

Command = TypeVar("Command", bound=Callable[..., None])


def options_of(settings: type[Section]) -> Callable[[Command], Command]:
    """Give a command that ends in ``**options`` an option for each field; lists are texts with commas."""

    def with_options(command: Command) -> Command:
        own = [
            parameter
            for parameter in inspect.signature(command).parameters.values()
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        more = [_option(name, field) for name, field in settings.model_fields.items()]
        # Typer asks for the signature to know a command's options.
        command.__signature__ = inspect.Signature([*own, *more])  # type: ignore[attr-defined]
        return command

    return with_options


def _option(name: str, field: FieldInfo) -> inspect.Parameter:
    plain = [option.type for option in field_options(field) if option.type in (bool, int, float)]
    kind: Any = plain[0] if plain else str
    default: Any = ",".join(field.default) if isinstance(field.default, tuple) else field.default
    help_ = typer.Option(help=field.description)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind | None, help_]
    )


def split_words(words: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """Names of experiments and modifiers, and ``key=value`` words."""
    given = words or []
    return [word for word in given if "=" not in word], [word for word in given if "=" in word]


def only_overrides(words: Sequence[str] | None) -> list[str]:
    """The words, all of which are ``key=value``. SettingsError names those that are not."""
    names, overrides = split_words(words)
    if names:
        raise SettingsError(f"{' '.join(names)}: no setting; write key=value, e.g. training.epochs=10")
    return overrides
