"""What every settings section shares: strict keys, strict integers, a sentence per field."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict

Integer = Annotated[int, Strict()]
Switch = Annotated[bool, Strict()]
Count = Annotated[int, Strict(), Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]


class Section(BaseModel):
    """A frozen group of settings; unknown keys are errors, docstrings are descriptions.

    Floats stay lax because YAML 1.1 reads ``1e-4`` as a string; integers and booleans are strict.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True)


def _kind_from_name(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


FromKindName = BeforeValidator(_kind_from_name)
"""Lets ``head: faster_rcnn`` stand for ``head: {kind: faster_rcnn}``."""
