"""From the data settings to the Records of a split; holds out validation pictures where a data set has none."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

from dinotune import config
from dinotune.config.tasks import LabelKind
from dinotune.data import formats
from dinotune.data.formats.base import SPLITS, MaskOptions, SplitPlace
from dinotune.data.formats.cifar.layout import picture_folders
from dinotune.data.formats.class_list.layout import class_list_folders
from dinotune.data.formats.coco.read import coco_image_folders
from dinotune.data.formats.mask_folder.layout import mask_image_folders
from dinotune.data.formats.torchvision_json.read import torchvision_image_folders
from dinotune.data.formats.voc.layout import voc_image_folders
from dinotune.data.formats.yolo.layout import yolo_place
from dinotune.data.held_out import hold_out
from dinotune.data.needs import as_needed
from dinotune.data.problems import Findings, Kind, Problem, some
from dinotune.data.records import LabelSet, Records
from dinotune.data.subsets import choose
from dinotune.errors import DataError

ROOT_NEEDED = "data.root is not set; name a data set's folder, e.g. data.root=data/helmets"

MOST_LISTED, MOST_OF_A_KIND = 15, 5
"""Problems that an error names, and of one kind; the check lists all."""


def read_records(
    data: config.Data, split: str, *, seed: int, labels: LabelSet | None = None, needs: LabelKind | None = None
) -> Records:
    """Records of `train`, `val` or `test`; what was left out, changed or drawn to get them stands in `notes`.

    Without a validation split, `validation_share` of the training pictures is held out, stratified by class, the
    same for one seed on every machine; `train` is then the rest. `limit`, `share` and `subset` leave some pictures
    (`subsets`). With `labels`, classes are matched by name. `needs` is what a head learns from: it decides what is
    read of a folder that holds several kinds of labels, and whether masks of objects are painted as classes.
    DataError for splits that do not exist, and for problems as `on_error` and `max_skipped` have it.
    """
    findings = Findings()
    try:
        records = read_split(data, split, seed=seed, labels=labels, findings=findings, needs=needs)
    except DataError:
        apply_on_error(data, findings, split, labels)  # what left too little to read comes first
        raise
    apply_on_error(data, findings, split, labels)
    return replace(records, notes=(*findings.notes(), *records.notes))


def read_split(
    data: config.Data,
    split: str,
    *,
    seed: int,
    labels: LabelSet | None,
    findings: Findings,
    needs: LabelKind | None = None,
) -> Records:
    """As `read_records`, with the problems in `findings` instead of the notes, whatever `on_error` is."""
    kind, places = find_places(data, needs)
    held_out = "val" not in places and split in ("train", "val") and "train" in places
    source = "train" if held_out else split
    if source not in places:
        known = ", ".join(places) or "none"
        raise DataError(f"{data.root}: no split {split} (found: {known}); name it with data.{split}.annotations")
    name = f"{data.root.resolve().name} {split}" if data.root else split
    records = as_needed(formats.READERS[kind](places[source], name, labels, findings), needs, labels)
    if data.root is not None and data.format == "auto":
        records = replace(records, notes=(*records.notes, *formats.passed_over(data.root, kind)))
    dataset = records
    if held_out:
        records = hold_out(records, split, data.validation_share, seed)
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


def find_places(data: config.Data, needs: LabelKind | None = None) -> tuple[str, dict[str, SplitPlace]]:
    """The annotation format, and where each split lies. DataError where there is none."""
    masks = MaskOptions(needs in ("semantic_masks", "instance_masks"), data.mask_encoding, data.ignore_ids)
    if data.root is not None:
        formats.require_folder(data.root)
    kind = _kind(data, needs)
    named = [split for split in SPLITS if getattr(data, split).annotations is not None]
    on_disk = formats.find_splits(data.root, kind, named) if data.root is not None else {}
    places = {split: _place(data, split, kind, on_disk.get(split)) for split in SPLITS}
    found = {split: replace(place, masks=masks) for split, place in places.items() if place is not None}
    if not found:
        raise DataError(ROOT_NEEDED if data.root is None else formats.nothing_found(data.root, kind))
    return kind, found


def _kind(data: config.Data, needs: LabelKind | None) -> str:
    if data.format != "auto":
        return data.format
    for split in SPLITS:
        annotations = getattr(data, split).annotations
        if annotations is not None:
            return formats.format_of(annotations)
    if data.root is None:
        raise DataError(ROOT_NEEDED)
    return formats.detect_format(data.root, needs)


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
    classes = data.root if kind in ("mask_folder", "instance_folder") else None
    return SplitPlace(wanted.annotations, images, found.listing if found is not None else None, classes)


def _usual_folders(annotations: Path, root: Path | None, split: str, kind: str) -> tuple[Path, ...]:
    """Where the pictures of explicitly named annotations may lie."""
    match kind:
        case "coco":
            folders = coco_image_folders(annotations, root, split)
        case "mask_folder" | "instance_folder":
            folders = mask_image_folders(annotations, root, split)
        case "torchvision_json":
            folders = torchvision_image_folders(annotations, root, split)
        case "class_list":
            folders = class_list_folders(annotations, root, split)
        case "image_folder":
            folders = (annotations,)
        case "cifar":
            folders = picture_folders(annotations.parent)
        case _:
            folders = voc_image_folders(annotations, root or annotations.parent)
    return folders
