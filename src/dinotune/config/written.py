"""Experiment -> a YAML page with every setting and its sentence, which loads back to an equal Experiment."""

from collections.abc import Iterator
from typing import Any

import yaml
from pydantic.fields import FieldInfo

from dinotune.config.base import Section
from dinotune.config.experiment import Experiment
from dinotune.config.fields import takes_none


def dump_experiment(experiment: Experiment) -> str:
    """Every setting, resolved, as commented YAML; `load_experiment` reads it back to an equal experiment."""
    return "\n".join(_lines(experiment, "")) + "\n"


def _lines(section: Section, indent: str) -> Iterator[str]:
    values = section.model_dump(mode="json")
    for name, field in type(section).model_fields.items():
        inner = getattr(section, name)
        yield f"{indent}# {field.description}"
        if isinstance(inner, Section):
            yield f"{indent}{name}:"
            yield from _lines(inner, indent + "  ")
        else:
            yield f"{indent}{name}: {flow(_escaped(values[name], field))}"


def _escaped(value: Any, field: FieldInfo) -> Any:
    """A path called `none` becomes `./none`: the bare word says that nothing is set."""
    return "./none" if value == "none" and takes_none(field) else value


def flow(value: Any) -> str:
    """A value as YAML on one line."""
    printable = not isinstance(value, str) or value.isprintable()  # PyYAML folds a raw U+0085 into a space
    text = yaml.safe_dump([value], default_flow_style=True, allow_unicode=printable, width=float("inf"))
    return text.strip().removeprefix("[").removesuffix("]")
