"""The check that runs by itself before a training: pictures decoded, splits looked at, within a minute at the most.

Loads no torch. The readers have checked the annotations by then.
"""

from collections.abc import Mapping
from pathlib import Path

from dinotune import config
from dinotune.backbones.variants import find_variant
from dinotune.config.tasks import LabelKind
from dinotune.data.checks.data_set import USUAL_PATCH, decode
from dinotune.data.checks.splits import check_splits, small_objects
from dinotune.data.problems import Findings
from dinotune.data.records import Records
from dinotune.data.splits import apply_on_error, find_places
from dinotune.errors import SettingsError
from dinotune.starting.choices import DEFAULT_HEADS
from dinotune.training.progress import Progress

MOST_PICTURES = 2_000
"""Pictures that are decoded of each split; of larger ones a sample, so that training starts within seconds."""


LABELS: Mapping[LabelKind, str] = {
    "boxes": "boxes around objects",
    "classes": "a class per picture",
    "semantic_masks": "a class per pixel",
    "instance_masks": "a mask per object",
}


def require_labels(experiment: config.Experiment, records: Records) -> None:
    """SettingsError where the head learns from, or is measured on, other labels than the data has."""
    needed = experiment.needs
    if needed != records.has:
        raise SettingsError(
            f"head.kind: {experiment.head.kind} needs {LABELS[needed]}, but {records.name} has {LABELS[records.has]}; "
            f"use e.g. head={DEFAULT_HEADS[records.has]}"
        )


def check_before_training(experiment: config.Experiment, records: Mapping[str, Records]) -> str:
    """Decode pictures and look at the splits; what was found and how long it took, for the log.

    Raises:
        DataError: as `data.on_error` and `data.max_skipped` have it.
    """
    data, findings = experiment.data, Findings()
    with Progress(None) as progress:
        decoded = decode(
            records,
            findings,
            most=MOST_PICTURES,
            seed=experiment.seed,
            start=progress.start,
            advance=progress.advance,
        )
    files = _files(experiment, records)
    findings.problems += check_splits(records, files, decoded.pixels)
    patch = patch_size(experiment.backbone)
    if small := small_objects(records["train"], data, patch, patch, files["train"]):
        findings.problems.append(small)
    apply_on_error(data, findings)
    said = findings.notes()
    return "\n  ".join([f"check: {decoded}; {'found:' if said else 'nothing to remark'}", *said])


def _files(experiment: config.Experiment, records: Mapping[str, Records]) -> dict[str, Path]:
    """Annotations of each split; those of `train` where a split is held out of it."""
    _, places = find_places(experiment.data, experiment.needs)
    return {split: places.get(split, places["train"]).annotations for split in records}


def patch_size(backbone: config.Backbone) -> int:
    """Pixels of a patch; the usual 16 for weights that no published model has."""
    if backbone.id.startswith("tiny-"):
        return (backbone.tiny or config.TinyShape()).patch_size
    variant = find_variant(backbone.id)
    return USUAL_PATCH if variant is None else variant.patch_size
