"""What values of masks may mean: by a file that names classes, or by what is known of a data set."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dinotune.data.formats.base import MaskOptions
from dinotune.data.formats.mask_folder.class_files import ClassFile
from dinotune.data.formats.mask_folder.known_sets import (
    CITYSCAPES_IDS,
    CITYSCAPES_NAMES,
    VOC_BORDER,
    VOC_NAMES,
    voc_colour,
)
from dinotune.data.formats.mask_folder.values import Masks
from dinotune.data.mask_files import Encoding

IGNORED_NAMES = {"unlabeled", "unlabelled", "ignore", "ignored", "void", "unknown"}
"""Classes of these names, in any case, neither teach nor count."""

ADE = ("ade20k", "ade20k_full")
"""Here 0 is no class; names that are listed without numbers are those of 1, 2, ..."""

USUAL = MaskOptions().ignored

BINARY, STRETCHED = frozenset({0, 1}), frozenset({0, 255})
"""Ids of two classes, and the same as pictures that can be looked at."""


@dataclass(frozen=True)
class Meaning:
    """Classes that masks may have."""

    file: Path | None
    """Where the names stand; none for built-in ones."""
    names: Mapping[int, Any]
    """By id, as written."""
    values: Mapping[int, int]
    """In the masks, by id."""
    ignored: frozenset[int]
    """Values that are no class."""
    encoding: Encoding
    notes: tuple[str, ...] = ()
    certain: bool = True
    """Whether nothing but the values themselves could prove it wrong; not so where Pascal VOC's palette is a guess."""

    def fits(self, masks: Masks) -> bool:
        """Whether a sample of the masks holds no other values."""
        return masks.values(self.encoding) <= {*self.values.values(), *self.ignored}


def ignored_ids(kind: str, options: MaskOptions) -> frozenset[int]:
    """Ids that are no class whatever a file says: by the settings and the kind of masks."""
    if kind == "ade20k_full":  # has thousands of classes; the usual 255 is one of them
        return frozenset({0}) if options.ignored == USUAL else frozenset({0, *options.ignored})
    own = {"ade20k": {0}, "voc": {VOC_BORDER}, "cityscapes": {VOC_BORDER}}.get(kind, set())
    return frozenset({*own, *options.ignored})


def meanings(kind: str, files: Iterable[ClassFile], masks: Masks, options: MaskOptions) -> Iterator[Meaning]:
    """What masks of a kind may mean, the most trusted first."""
    for file in files:
        names = _numbered(kind, file)
        for encoding, values in _encodings(kind, file.colours, names, masks):
            meaning = _meaning(file.file, names, values, encoding, ignored_ids(kind, options))
            yield replace(meaning, certain=encoding != "colours" or file.colours is not None)
    no_class = ignored_ids(kind, options)
    if kind == "voc":
        names = dict(enumerate(VOC_NAMES))
        for encoding, values in _encodings(kind, None, names, masks):
            yield replace(_meaning(None, names, values, encoding, no_class), certain=encoding != "colours")
    if kind == "cityscapes":
        others = frozenset(CITYSCAPES_IDS) - CITYSCAPES_NAMES.keys()
        same = {id_: id_ for id_ in CITYSCAPES_NAMES}
        yield _meaning(None, CITYSCAPES_NAMES, same, "ids", others | no_class)


def _numbered(kind: str, file: ClassFile) -> dict[int, Any]:
    names = dict(file.names)
    if kind in ADE and not file.first_is_one and 0 in names and not is_ignored_name(names[0]):
        return {id_ + 1: name for id_, name in names.items()}
    return names


def _encodings(
    kind: str, colours: Mapping[int, int] | None, names: Mapping[int, Any], masks: Masks
) -> Iterator[tuple[Encoding, dict[int, int]]]:
    """Ways in which the masks may hold classes, with the value of each."""
    same = {id_: id_ for id_ in names}
    if kind == "ade20k_full":
        yield "ade20k_full", same
    elif masks.coloured:
        yield "colours", dict(colours or {id_: voc_colour(id_) for id_ in names})
    else:
        if colours and "P" in masks.modes:
            yield "colours", dict(colours)
        if kind != "voc" and names.keys() == BINARY and masks.values("ids") == STRETCHED:
            yield "ids", {0: 0, 1: 255}
        yield "ids", same


def _meaning(
    file: Path | None, names: Mapping[int, Any], values: Mapping[int, int], encoding: Encoding, no_class: frozenset[int]
) -> Meaning:
    unnamed = {id_ for id_, name in names.items() if is_ignored_name(name)}
    dropped = (no_class & names.keys()) - unnamed
    if set(values.values()) == STRETCHED:
        dropped = frozenset()
    kept = {id_: value for id_, value in values.items() if id_ not in dropped | unnamed}
    return Meaning(
        file,
        {id_: names[id_] for id_ in kept},
        kept,
        _values_of(no_class | unnamed, values, encoding) - frozenset(kept.values()),
        encoding,
        tuple(f'value {id_} ("{names[id_]}") is ignored, as data.ignore_ids says' for id_ in sorted(dropped)),
    )


def is_ignored_name(name: Any) -> bool:
    """Whether a class of this name is none."""
    return str(name).strip().lower() in IGNORED_NAMES


def _values_of(ids: Iterable[int], values: Mapping[int, int], encoding: Encoding) -> frozenset[int]:
    """Values of ids that are no class; of colours by the file, else by Pascal VOC's palette."""
    if encoding != "colours":
        return frozenset(values.get(id_, id_) for id_ in ids)
    return frozenset(values.get(id_, voc_colour(id_)) for id_ in ids if id_ in values or 0 <= id_ < 256)
