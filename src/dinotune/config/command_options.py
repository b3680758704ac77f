"""Settings that a command takes as options, beside an experiment."""

from typing import Any, Self

from pydantic import ValidationError

from dinotune.config.base import Section
from dinotune.config.describe import describe
from dinotune.errors import SettingsError


class CommandOptions(Section):
    """Options of a command."""

    @classmethod
    def checked(cls, **values: Any) -> Self:
        """The settings, or a SettingsError with a line for each wrong one."""
        try:
            return cls(**values)
        except ValidationError as error:
            wrong = dict.fromkeys(str(detail["loc"][0]) for detail in error.errors())
            raise SettingsError("\n".join(_sentence(cls, name, values[name]) for name in wrong)) from None


def _sentence(section: type[Section], name: str, value: Any) -> str:
    field = section.model_fields.get(name)
    if field is None:
        return f"{name}: unknown; there is {', '.join(section.model_fields)}"
    return f"{name}: {value} is wrong; give {describe(field)}"
