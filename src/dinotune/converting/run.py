"""`dinotune convert`: every split of a data set, read in its own format and written in another.

Loads no torch.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, get_args

from dinotune import config
from dinotune.config.loading import load_experiment
from dinotune.config.suggestions import did_you_mean
from dinotune.config.tasks import LabelKind
from dinotune.converting.out import check_apart, check_free, filled
from dinotune.converting.read import read_splits, writable
from dinotune.data import formats
from dinotune.data.formats.base import SPLITS
from dinotune.data.formats.writing import Pictures
from dinotune.data.problems import counted
from dinotune.data.records import Records
from dinotune.data.splits import find_places
from dinotune.errors import SettingsError
from dinotune.starting.folder import find_data_set
from dinotune.training.data_check import LABELS

BECOMES: Mapping[LabelKind, tuple[LabelKind, ...]] = {
    "boxes": ("boxes", "semantic_masks", "instance_masks"),
    "instance_masks": ("boxes", "semantic_masks", "instance_masks"),
    "semantic_masks": ("semantic_masks",),
    "classes": ("classes",),
}
"""What labels can be written as; boxes as masks where the objects have masks too."""

DONE: Mapping[Pictures, str] = {"copy": "copied", "link": "linked", "none": "left where they are"}


class SplitCount(NamedTuple):
    """One split in numbers."""

    pictures: int
    objects: int
    ignored: int
    """Ignore regions, which are not among the objects."""


@dataclass(frozen=True)
class Conversion:
    """What was read and written."""

    source: Path | None
    source_format: str
    folder: Path
    format: str
    pictures: Pictures
    splits: Mapping[str, SplitCount]
    """As read."""
    notes: tuple[str, ...]
    """What was left out or changed in reading."""
    lost: tuple[str, ...]
    """What the format that was written cannot hold."""


def convert(
    source: str | Path,
    out: str | Path,
    to: str,
    *,
    pictures: Pictures = "copy",
    overwrite: bool = False,
    overrides: Sequence[str] = (),
) -> Conversion:
    """Write all splits of a data set in another format of the same kind; masks of objects also as classes of pixels.

    Args:
        source: Folder of a data set.
        out: Folder to write; it holds all or, where something fails, nothing.
        to: Format to write.
        pictures: `copy`, `link` (symbolic links), or `none`, which leaves them where they are.
        overwrite: Replace an earlier conversion in `out`.
        overrides: ``key=value`` words, such as ``data.train.limit=100`` or ``data.on_error=skip``.

    Raises:
        SettingsError: there is no such format, the labels cannot be written in it, or `out` is not free.
        DataError: the data set cannot be read, as `data.on_error` has it, or is not as the format needs it.
    """
    _check_choice("--to", to, formats.WRITERS)
    _check_choice("--pictures", pictures, get_args(Pictures))
    target = Path(out).expanduser()
    check_free(target, overwrite=overwrite)
    experiment, notes = _load(Path(source).expanduser(), overrides)
    data, needs = experiment.data, formats.HOLDS[to]
    kind, places = find_places(data, needs)
    _check_pair(kind, to, data)
    if data.root is not None and data.format == "auto":
        notes += formats.passed_over(data.root, kind)
    splits = read_splits(experiment, kind, places, to)
    check_apart(target, _what_is_read(data, splits))
    with filled(target) as folder:
        lost = formats.WRITERS[to](splits, folder, pictures)
    counts = {split: _count(records) for split, records in splits.items()}
    said = dict.fromkeys((*notes, *(note for records in splits.values() for note in records.notes)))
    return Conversion(data.root, kind, target, to, pictures, counts, tuple(said), lost)


def report_conversion(found: Conversion) -> None:
    """Print what was read and written."""
    print("\n".join(_described(found)))


def _described(found: Conversion) -> Iterator[str]:
    yield f"{found.source or 'data'}: {formats.KNOWN_BY[found.source_format][0]}"
    yield from (f"  {note}" for note in found.notes)
    has_objects = formats.HOLDS[found.source_format] in ("boxes", "instance_masks")
    for split, count in found.splits.items():
        ignored = f", {counted(count.ignored, 'ignore region')}" * bool(count.ignored)
        objects = f", {counted(count.objects, 'object')}{ignored}" * has_objects
        yield f"{split}: {counted(count.pictures, 'picture')}{objects}"
    name = formats.KNOWN_BY[found.format][0]
    if found.lost:
        yield "What the format cannot hold:"
        yield from (f"  {sentence}" for sentence in found.lost)
    total = sum(count.pictures for count in found.splits.values())
    yield f"Wrote {found.folder}: {name}, {counted(total, 'picture')} {DONE[found.pictures]}"


def _check_choice(option: str, given: str, known: Collection[str]) -> None:
    if given not in known:
        raise SettingsError(f"{option}: {given} is wrong; give {', '.join(known)}{did_you_mean(given, known)}")


def _load(source: Path, overrides: Sequence[str]) -> tuple[config.Experiment, tuple[str, ...]]:
    """The settings of the data, and how it was found; explicit annotations need not be found in the folder."""
    experiment = load_experiment(config.Experiment(data=config.Data(root=source)), (), overrides).experiment
    if any(getattr(experiment.data, split).annotations is not None for split in SPLITS):
        return experiment, ()
    root = find_data_set(source).root
    notes = () if root == source else (f"the data set lies in {root}",)
    return experiment.model_copy(update={"data": experiment.data.model_copy(update={"root": root})}), notes


def _check_pair(kind: str, to: str, data: config.Data) -> None:
    has, wanted = formats.HOLDS[kind], formats.HOLDS[to]
    if wanted not in BECOMES[has]:
        raise SettingsError(
            f"--to: {data.root} ({formats.KNOWN_BY[kind][0]}) has {LABELS[has]}, {to} holds {LABELS[wanted]}; "
            f"give {', '.join(writable(BECOMES[has]))}"
        )


def _what_is_read(data: config.Data, splits: Mapping[str, Records]) -> Iterator[Path]:
    named = [path for split in SPLITS for path in (getattr(data, split).annotations, getattr(data, split).images)]
    yield from (path for path in (data.root, *named) if path is not None)
    for records in splits.values():
        yield from map(Path, records.paths.tolist())
        yield from map(Path, [] if records.mask_files is None else records.mask_files.paths.tolist())


def _count(records: Records) -> SplitCount:
    ignored = int(records.crowd.sum())
    return SplitCount(len(records), len(records.boxes) - ignored, ignored)
