"""Options of a command made from a settings class, so that both have the same names, defaults and words."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import typer
from pydantic.fields import FieldInfo

from dinotune.config.base import Section
from dinotune.config.fields import field_options

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
