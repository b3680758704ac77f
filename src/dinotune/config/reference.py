"""The reference of all settings: rows for people, a JSON schema for editors."""

from dataclasses import dataclass
from typing import Any

import yaml
from pydantic.fields import FieldInfo

from dinotune.config.base import Section
from dinotune.config.describe import describe
from dinotune.config.experiment import Experiment
from dinotune.config.fields import sections, walk


@dataclass(frozen=True)
class SettingRow:
    """One setting. `kind` names the head, optimiser ... that it belongs to, "" where it always exists."""

    key: str
    kind: str
    type: str
    default: str
    sentence: str


def settings_reference() -> list[SettingRow]:
    """Every setting, in the order of the page, under the key that ``key=value`` takes."""
    return [
        SettingRow(
            place.key, place.kind or "", describe(place.field), _default(place.field), place.field.description or ""
        )
        for place in walk(Experiment)
        if place.path[-1] != "kind" and (None not in sections(place.field) or place.field.get_default() is None)
    ]


def experiment_schema() -> dict[str, Any]:
    """JSON schema of an experiment, for editors; short forms such as `head: faster_rcnn` are not part of it."""
    return Experiment.model_json_schema()


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    value = field.get_default()
    if value is None:
        return "none"
    if isinstance(value, Section):
        return str(getattr(value, "kind", ""))
    plain = list(value) if isinstance(value, tuple) else value
    return yaml.safe_dump([plain], default_flow_style=True, width=float("inf")).strip()[1:-1]
