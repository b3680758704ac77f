"""From the data settings to the Records of a split; holds out validation pictures where a data set has none."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from dinotune import config
from dinotune.data import formats
from dinotune.data.formats.base import SPLITS, SplitPlace
from dinotune.data.formats.class_list.layout import class_list_folders
from dinotune.data.formats.coco.read import coco_image_folders
from dinotune.data.formats.torchvision_json.read import torchvision_image_folders
from dinotune.data.formats.voc.layout import voc_image_folders
from dinotune.data.formats.yolo.layout import yolo_place
from dinotune.data.problems import Findings, Kind, Problem, some
from dinotune.data.records import LabelSet, Records
from dinotune.data.subsets import choose, shuffled_by_group
from dinotune.errors import DataError

ROOT_NEEDED = "data.root is not set; name a data set's folder, e.g. data.root=data/helmets"

HOLD_OUT = 1
"""Key that keeps the draws of one seed apart from the subsets' (2)."""

MOST_LISTED, MOST_OF_A_KIND = 15, 5
"""Problems that an error names, and of one kind; the check lists all."""


def read_records(data: config.Data, split: str, *, seed: int, labels: LabelSet | None = None) -> Records:
    """Records of `train`, `val` or `test`; what was left out, changed or drawn to get them stands in `notes`.

    Without a validation split, `validation_share` of the training pictures is held out, stratified by class, the
    same for one seed on every machine; `train` is then the rest. `limit`, `share` and `subset` leave some pictures
    (`subsets`). With `labels`, classes are matched by name. DataError for splits that do not exist, and for problems as
    `on_error` and `max_skipped` have it.
    """
    findings = Findings()
    try:
        records = read_split(data, split, seed=seed, labels=labels, findings=findings)
    except DataError:
        apply_on_error(data, findings, split, labels)  # what left too little to read comes first
        raise
    apply_on_error(data, findings, split, labels)
    return replace(records, notes=(*findings.notes(), *records.notes))


def read_split(data: config.Data, split: str, *, seed: int, labels: LabelSet | None, findings: Findings) -> Records:
    """As `read_records`, with the problems in `findings` instead of the notes, whatever `on_error` is."""
    kind, places = find_places(data)
    held_out = "val" not in places and split in ("train", "val") and "train" in places
    source = "train" if held_out else split
    if source not in places:
        known = ", ".join(places) or "none"
        raise DataError(f"{data.root}: no split {split} (found: {known}); name it with data.{split}.annotations")
    name = f"{data.root.resolve().name} {split}" if data.root else split
    records = formats.READERS[kind](places[source], name, labels, findings)
    if data.root is not None and data.format == "auto":
        records = replace(records, notes=(*records.notes, *formats.passed_over(data.root, kind)))
    dataset = records
    if held_out:
        records = _hold_out(records, split, data.validation_share, seed)
    return choose(records, getattr(data, split), dataset=dataset, key=f"data.{split}", seed=seed)


def apply_on_error(data: config.Data, findings: Findings, split: str = "", labels: LabelSet | None = None) -> None:
    """DataError for problems that `on_error: stop` ends on, or for more than `max_skipped` of them.

    `split` and the classes that were asked for are named, where there are any.
    """
    stopping = findings.stopping
    if not stopping or (data.on_error == "skip" and len(stopping) <= data.max_skipped):
        return
    per_kind = Counter(problem.kind.value.name for problem in stopping)
    where = ": ".join([str(data.root or "data"), *([split] if split else [])])
    lines = [f"{where}: {', '.join(f'{count} x {name}' for name, count in per_kind.items())}"]
    if labels is not None and Kind.UNKNOWN_CLASS in findings.counts():
        lines.append(f"  classes of the model: {some(labels.names, 20)}")
    listed = _some_of_each(stopping)
    lines += [f"  {problem}" for problem in listed]
    lines += [f"  … and {len(stopping) - len(listed)} more"] * (len(stopping) > len(listed))
    remedy = (
        f"data.max_skipped={len(stopping)} allows so many"
        if data.on_error == "skip"
        else "data.on_error=skip goes on without them"
    )
    raise DataError("\n".join([*lines, f"`dinotune check {data.root or 'EXPERIMENT'}` lists all; {remedy}"]))


def _some_of_each(problems: list[Problem]) -> list[Problem]:
    """The first few problems of each kind, in their order."""
    seen: Counter[Kind] = Counter()
    listed = []
    for problem in problems:
        seen[problem.kind] += 1
        if seen[problem.kind] <= MOST_OF_A_KIND:
            listed.append(problem)
    return listed[:MOST_LISTED]


def find_places(data: config.Data) -> tuple[str, dict[str, SplitPlace]]:
    """The annotation format, and where each split lies. DataError where there is none."""
    if data.root is not None:
        formats.require_folder(data.root)
    kind = _kind(data)
    on_disk = formats.find_splits(data.root, kind) if data.root is not None else {}
    places = {split: _place(data, split, kind, on_disk.get(split)) for split in SPLITS}
    found = {split: place for split, place in places.items() if place is not None}
    if not found:
        raise DataError(ROOT_NEEDED if data.root is None else formats.nothing_found(data.root, kind))
    return kind, found


def _kind(data: config.Data) -> str:
    if data.format != "auto":
        return data.format
    for split in SPLITS:
        annotations = getattr(data, split).annotations
        if annotations is not None:
            return formats.format_of(annotations)
    if data.root is None:
        raise DataError(ROOT_NEEDED)
    return formats.detect_format(data.root)


def _place(data: config.Data, split: str, kind: str, found: SplitPlace | None) -> SplitPlace | None:
    """Explicit paths win over what was found below the root."""
    wanted: config.Split = getattr(data, split)
    for key, path in (("images", wanted.images), ("annotations", wanted.annotations)):
        if path is not None and not path.exists():
            raise DataError(f"data.{split}.{key}: {path} does not exist")
    if wanted.annotations is None:
        if found is None and wanted.images is not None:
            raise DataError(f"data.{split}.images is set, but no annotations; add data.{split}.annotations")
        return found if found is None or wanted.images is None else replace(found, image_folders=(wanted.images,))
    if kind == "yolo":
        return yolo_place(wanted.annotations, wanted.images, found, split)
    images = (
        (wanted.images,) if wanted.images is not None else _usual_folders(wanted.annotations, data.root, split, kind)
    )
    return SplitPlace(wanted.annotations, images, found.listing if found is not None else None)


def _usual_folders(annotations: Path, root: Path | None, split: str, kind: str) -> tuple[Path, ...]:
    if kind == "coco":
        return coco_image_folders(annotations, root, split)
    if kind == "image_folder":
        return (annotations,)
    if kind == "class_list":
        return class_list_folders(annotations, root, split)
    if kind == "torchvision_json":
        return torchvision_image_folders(annotations, root, split)
    return voc_image_folders(annotations, root or annotations.parent)


def _hold_out(records: Records, split: str, share: float, seed: int) -> Records:
    if len(records) < 2:
        raise DataError(f"{records.name}: one picture cannot be split into train and val; add pictures")
    held = stratified_share(records, share, np.random.default_rng([seed, HOLD_OUT]))
    note = f"no validation split: {held.sum()} of {len(records)} training pictures held out (seed {seed})"
    chosen = np.flatnonzero(held if split == "val" else ~held)
    return replace(records.select(chosen), notes=(*records.notes, note))


def stratified_share(records: Records, share: float, generator: np.random.Generator) -> Bool[np.ndarray, "images"]:
    """Marks about `share` of the pictures (at least one, never all), alike in every class.

    Pictures are put in line by the rarest class they show (those without boxes last), shuffled within a class;
    then every 1/share-th is taken.
    """
    images, labels = records.shown_classes()
    classes = len(records.labels) + 1
    frequency = np.bincount(labels, minlength=classes)
    rarest = np.full(len(records), (len(records) + 1) * classes + classes - 1)
    np.minimum.at(rarest, images, frequency[labels] * classes + labels)
    order = shuffled_by_group(records.image_ids, rarest, generator)
    count = int(np.clip(round(len(records) * share), 1, len(records) - 1))
    # A random phase: without it, the first of a class with a single picture would never be held out.
    positions = ((np.arange(count) + generator.random()) * len(records) / count).astype(np.int64)
    held = np.zeros(len(records), np.bool_)
    held[order[positions]] = True
    return held
