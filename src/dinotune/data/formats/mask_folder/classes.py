"""The classes of a mask folder: what a file says, or what is known of the data set, or the values themselves."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dinotune.config.tasks import BACKGROUND
from dinotune.data.formats.base import SplitPlace
from dinotune.data.formats.class_names import MOST_CLASSES, clear_by_id, with_ids_of
from dinotune.data.formats.mask_folder.class_files import class_files
from dinotune.data.formats.mask_folder.layout import CLASSES, TREES, find_mask_folder
from dinotune.data.formats.mask_folder.meanings import BINARY, STRETCHED, Meaning, ignored_ids, meanings
from dinotune.data.formats.mask_folder.pairs import find_pairs
from dinotune.data.formats.mask_folder.values import Masks, all_values, spread
from dinotune.data.mask_files import ABSENT, Encoding, MaskCoding
from dinotune.data.problems import FileError, Findings, Kind, Problem, some
from dinotune.data.records import LabelSet
from dinotune.errors import DataError

NAME_THEM = "write classes.yaml with a line `classes: {0: NAME, 1: NAME}`"

MOST_SCANNED = 2000
"""So many masks are looked into for their values; those of others are errors when they are read."""

TWO = (BACKGROUND, "foreground")


@dataclass(frozen=True)
class MaskClasses:
    """The classes that masks show, and how."""

    labels: LabelSet
    """With the original ids."""
    coding: MaskCoding
    notes: tuple[str, ...] = ()


def own_classes(place: SplitPlace, paths: Sequence[Path], labels: LabelSet | None, findings: Findings) -> MaskClasses:
    """The classes of a split's masks: by the first file, or built-in list, that knows all values of a sample of the training masks.

    Where none does, the first is taken, and masks with other values are errors when they are read. Where nothing names
    classes, the values of the training masks are the classes, unless a model's `labels` came about in the same way.

    Raises:
        FileError: nothing says what the colours of masks mean, or what a file says is no class.
    """
    train = _training_masks(place, paths)
    masks, files = Masks(train), class_files(class_folders_of(place))
    kind = _kind(place, paths, counts_from_one=any(file.first_is_one for file in files))
    options = list(meanings(kind, files, masks, place.masks))
    painted = masks.coloured and kind != "ade20k_full"
    if len(options) > 1 or painted:
        fitting = [option for option in options if option.fits(masks)]
        options = fitting or [option for option in options if option.certain]
    if options:
        return _named(options[0], place, findings)
    if painted:
        colours = some((f"#{colour:06x}" for colour in sorted(masks.values("colours"))), 5)
        message = (
            f"masks are painted in colours ({colours}) whose meaning no file says; "
            "write labelmap.txt with a line `name:red,green,blue::` for each"
        )
        raise FileError(Problem(Kind.UNCLEAR_CLASS, place.annotations, message))
    if labels is not None and _is_nameless(labels):
        return MaskClasses(labels, _coding(kind, place, labels.ids))
    return _scanned(kind, place, train, findings)


def matched(own: MaskClasses, labels: LabelSet | None, place: SplitPlace, findings: Findings) -> MaskClasses:
    """The same masks with the classes `labels`, found by name; classes that are none of them are ignored, and told."""
    if labels is None:
        return own
    value_of = dict(zip(own.labels.names, own.coding.values, strict=True))
    values = tuple(value_of.get(name, ABSENT) for name in labels.names)
    others = [name for name in own.labels.names if name not in labels.names]
    if others:
        message = f"{some(others, 20)}: not among the classes of the model, {some(labels.names, 10)}; their pixels are ignored"
        findings.add(Kind.UNKNOWN_CLASS, place.annotations, message)
    ignored = (*own.coding.ignored, *(value_of[name] for name in others))
    coding = replace(own.coding, values=values, ignored=ignored)
    return MaskClasses(with_ids_of(own.labels, labels), coding, own.notes)


def _training_masks(place: SplitPlace, own: Sequence[Path]) -> Sequence[Path]:
    """Masks of the training split, so that values mean the same in all splits; these where there is none."""
    try:
        found = find_mask_folder(place.classes) if place.classes is not None else {}
        clear = "train" in found and not found["train"].unclear
        return [pair.mask for pair in find_pairs(found["train"], Findings())] if clear else own
    except DataError:  # none that pairs up: then the split was named by the settings
        return own


def _kind(place: SplitPlace, paths: Sequence[Path], *, counts_from_one: bool) -> str:
    """What masks of a data set are, as `data.mask_encoding` calls it."""
    if place.masks.encoding != "auto":
        return place.masks.encoding
    stem = paths[0].stem
    if stem.endswith(("_gtFine_labelIds", "_gtCoarse_labelIds")):
        return "cityscapes"
    if stem.startswith("ADE_") and stem.endswith("_seg"):
        return "ade20k_full"
    if place.annotations.name == CLASSES.voc:
        return "voc"
    return "ade20k" if counts_from_one else "ids"


def class_folders_of(place: SplitPlace) -> tuple[Path, ...]:
    """Folders that may hold a file with the classes: that of the masks and those above it, up to the data set's."""
    masks, root = place.annotations, place.classes
    if root is not None and masks.is_relative_to(root):
        above = [folder for folder in masks.parents if folder.is_relative_to(root)]
        return (masks, *above) if masks != root else (masks,)
    own = (masks, masks.parent, masks.parent.parent) if masks.parent.name in TREES else (masks, masks.parent)
    return own if root is None else (*own, root)


def _named(chosen: Meaning, place: SplitPlace, findings: Findings) -> MaskClasses:
    file = chosen.file or place.annotations
    if not chosen.names:
        raise FileError(Problem(Kind.UNCLEAR_CLASS, file, "names no class, or none that is not ignored"))
    names = clear_by_id(chosen.names, file, findings, lambda _: None)
    values = tuple(chosen.values[id_] for id_ in names)
    coding = MaskCoding(chosen.encoding, values, tuple(sorted(chosen.ignored)))
    return MaskClasses(LabelSet(tuple(names.values()), tuple(names)), coding, chosen.notes)


def _is_nameless(labels: LabelSet) -> bool:
    """Whether classes bear the names that they get here where nothing names them."""
    return labels.names == TWO or labels.names == tuple(f"class {id_}" for id_ in labels.ids)


def _coding(kind: str, place: SplitPlace, values: tuple[int, ...]) -> MaskCoding:
    encoding: Encoding = "ade20k_full" if kind == "ade20k_full" else "ids"
    return MaskCoding(encoding, values, tuple(sorted(ignored_ids(kind, place.masks) - set(values))))


def _scanned(kind: str, place: SplitPlace, train: Sequence[Path], findings: Findings) -> MaskClasses:
    scanned = spread(train, MOST_SCANNED)
    found = all_values(scanned, _coding(kind, place, ()).encoding)
    values = tuple(sorted(found if found == STRETCHED else found - ignored_ids(kind, place.masks)))
    if not 0 < len(values) <= MOST_CLASSES:
        what = f"{len(values)} different values" if values else "no value that is not ignored"
        raise FileError(
            Problem(Kind.NAMELESS_CLASSES, place.annotations, f"no names of classes, and {what}; {NAME_THEM}")
        )
    coding = _coding(kind, place, values)
    if set(values) in (BINARY, STRETCHED):
        return MaskClasses(LabelSet(TWO, values), coding)
    masks = f"{len(scanned):,} of {len(train):,} masks" if len(scanned) < len(train) else "masks"
    message = f"no names of classes; the {masks} hold {some(values, 10)}: {NAME_THEM}"
    findings.add(Kind.NAMELESS_CLASSES, place.annotations, message)
    return MaskClasses(LabelSet(tuple(f"class {value}" for value in values), values), coding)
