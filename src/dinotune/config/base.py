"""What every settings section shares: strict keys, strict integers, a sentence per field."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict, model_validator

Integer = Annotated[int, Strict()]
Switch = Annotated[bool, Strict()]
Count = Annotated[int, Strict(), Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]


def _without_tilde(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ValueError(f"{path}: no such user; write the home folder in full") from error


UserPath = Annotated[Path, AfterValidator(_without_tilde)]
"""A path, relative to the current directory; ``~`` is the home folder."""


class Section(BaseModel):
    """A frozen group of settings; unknown keys are errors, docstrings are descriptions.

    Floats stay lax because YAML 1.1 reads ``1e-4`` as a string; integers and booleans are strict.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True, allow_inf_nan=False
    )

    takes_text: ClassVar[bool] = False
    """Whether any text is a short form, so that `key=2024` is a text too."""

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Turn a short form into the mapping that it stands for; anything else stays as it is."""
        return value

    @classmethod
    def outdated(cls, old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[str, ...]:  # noqa: ARG003
        """Dotted keys of `old` that lose their meaning when `new` is merged over it."""
        return ()

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, value: Any) -> Any:
        return cls.expand(value)


def _kind_from_name(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


FromKindName = BeforeValidator(_kind_from_name)
"""Lets ``head: faster_rcnn`` stand for ``head: {kind: faster_rcnn}``."""
