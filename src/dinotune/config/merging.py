"""Merges raw settings: sections key by key, everything else by replacement.

A new kind drops the old kind's keys: they would mean nothing to it. What was dropped is said.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic.fields import FieldInfo

from dinotune.config.base import Section
from dinotune.config.experiment import Experiment
from dinotune.config.fields import section_of, sections, short_form, stage_section, takes_mapping
from dinotune.errors import SettingsError

Tree = dict[str, Any]


class Merger:
    """Merges layers of raw settings and collects what was dropped on the way in `notes`.

    Args:
        drop: Drop keys that the newer layer makes meaningless; not wanted within one layer, where order says nothing.
        fit: Leave out keys of the newer layer that belong to other kinds than the one chosen, so that one modifier
            suits all heads.
    """

    def __init__(self, *, drop: bool = True, fit: bool = False) -> None:
        self.notes: list[str] = []
        self._drop = drop
        self._fit = fit

    def merge(
        self,
        old: Mapping[str, Any],
        new: Mapping[str, Any],
        section: type[Section] = Experiment,
        path: tuple[str, ...] = (),
    ) -> Tree:
        """`new` over `old`; both hold settings of `section`, which stands at `path`.

        Raises:
            SettingsError: Keys are given for one stage where there are several.
        """
        merged = self._without_outdated(old, new, section, path)
        for key, value in new.items():
            field = section.model_fields.get(key)
            merged[key] = value if field is None else self._merge_field(field, merged.get(key, {}), value, (*path, key))
        return merged

    def _merge_field(self, field: FieldInfo, old: Any, new: Any, path: tuple[str, ...]) -> Any:
        stage = stage_section(field)
        if stage:
            return self._merge_stage(stage, field, old, new, path)
        new = short_form(field, new)
        found = sections(field)
        if takes_mapping(field) and isinstance(old, Mapping) and isinstance(new, Mapping):
            return {**old, **new}
        if not found or not isinstance(new, Mapping):
            return new
        old = short_form(field, old)
        old = old if isinstance(old, Mapping) else {}
        if None in found:
            return self.merge(old, new, found[None], path)
        if self._drop and "kind" not in old:
            # What was written without a kind belongs to the default one.
            default = field.get_default()
            old = ({} if default is None else {"kind": default.kind}) | dict(old)
        kind = new.get("kind", old.get("kind"))
        if self._drop and old.get("kind") not in (None, kind):
            self._note_drop(path, f"{old['kind']} -> {kind}", [key for key in old if key != "kind"])
            old = {}
        section = section_of(field, kind)
        if self._fit and section:
            new = self._fitting(new, section, found.values(), path)
        return self.merge(old, new, section, path) if section else {**old, **new}

    def _fitting(
        self, new: Mapping[str, Any], section: type[Section], kinds: Iterable[type[Section]], path: tuple[str, ...]
    ) -> Tree:
        known = {key for kind in kinds for key in kind.model_fields}
        foreign = [key for key in new if key in known and key not in section.model_fields]
        if foreign:
            self.notes.append(f"{'.'.join(path)}: {', '.join(foreign)} left out; they are for other kinds")
        return {key: value for key, value in new.items() if key not in foreign}

    def _merge_stage(self, section: type[Section], field: FieldInfo, old: Any, new: Any, path: tuple[str, ...]) -> Any:
        """Keys change the one stage there is; a list, a number or a word replaces all stages."""
        if not isinstance(new, Mapping):
            return short_form(field, new)
        before = short_form(field, old) or [{}]
        if len(before) > 1:
            place = ".".join(path)
            raise SettingsError(
                f"{place}: there are {len(before)} stages, keys of which? Give the whole list: {place}=[...]"
            )
        merged = self.merge(before[0], new, section, path)
        return [merged] if self._drop else merged

    def _without_outdated(
        self, old: Mapping[str, Any], new: Mapping[str, Any], section: type[Section], path: tuple[str, ...]
    ) -> Tree:
        kept = dict(old)
        dropped = section.outdated(old, new) if self._drop else ()
        for key in dropped:
            *outer, last = key.split(".")
            holder = kept
            for name in outer:
                holder[name] = dict(holder[name])
                holder = holder[name]
            del holder[last]
        self._note_drop(path, "changed", dropped)
        return kept

    def _note_drop(self, path: tuple[str, ...], change: str, dropped: Sequence[str]) -> None:
        if dropped:
            self.notes.append(f"{'.'.join(path)}: {change}, which drops {', '.join(dropped)}")
