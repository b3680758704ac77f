"""`dinotune probe`: every picture through the backbone once, then three kinds of classifiers; a table, and a model."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dinotune import config
from dinotune.checkpoints import Description, write_checkpoint
from dinotune.data.loader import end_workers, evaluation_loader, training_loader
from dinotune.data.records import Records
from dinotune.data.sampler import TrainBatchSampler
from dinotune.errors import SettingsError
from dinotune.files import write_json, write_text
from dinotune.heads.linear_classifier import LinearClassifierHead
from dinotune.heap import freed_memory_kept
from dinotune.probing.competition import Competition, Row, best_of_each
from dinotune.probing.features import PooledFeatures, compute_features
from dinotune.probing.tables import markdown, print_rows
from dinotune.training.preparation import Preparation, prepare
from dinotune.training.progress import Progress
from dinotune.training.run_folder import create_run_folder, with_absolute_paths


@dataclass(frozen=True)
class Probed:
    """A finished probe."""

    folder: Path
    """Holds probe.json, table.md, and in `checkpoints/` the best linear classifier as a model for use."""
    rows: tuple[Row, ...]
    """Every classifier with its accuracies on the measured split."""


def probe(
    experiment: config.Experiment,
    settings: config.Probe | None = None,
    *,
    out: Path | str | None = None,
    overwrite: bool = False,
    notes: Sequence[str] = (),
) -> Probed:
    """Measure how much a frozen backbone says about classes of pictures.

    Args:
        experiment: Backbone, data with classes, and the linear classifier as its head.
        settings: Views, epochs, learning rates, neighbours, penalties.
        out: Folder for the results; none takes a new one below runs/.
        overwrite: Replace the run that was written there before.
        notes: Said first.

    Raises:
        SettingsError: the head is another one, drops features out, or something in the backbone is meant to learn; the
            measured split is `train`.
        DinotuneError: data or weights cannot be used.
    """
    settings = settings or config.Probe()
    _check(experiment)
    preparation = prepare(with_absolute_paths(experiment))
    folder = create_run_folder(preparation.experiment, Path(out) if out else None, overwrite=overwrite)
    with Progress(folder / "train.log") as progress, freed_memory_kept(preparation.device):
        progress.say("\n".join([f"run folder: {folder}", *notes, *preparation.opening]))
        began = time.perf_counter()
        competition = _competition(preparation, settings, progress)
        seen, views = len(competition.measured), len(competition.views)
        progress.say(
            f"features of {len(competition.views[0])} pictures x {views} and of {seen}: {time.perf_counter() - began:.1f} s"
        )
        began = time.perf_counter()
        head = preparation.model.head
        assert isinstance(head, LinearClassifierHead)
        rows, preparation.model.head = competition.rows(head)
        progress.say(f"{len(rows)} classifiers: {time.perf_counter() - began:.1f} s")
    _write(folder, preparation, settings, rows)
    print_rows(rows)
    print(f"Table: {folder / 'table.md'}; the best linear classifier: dinotune evaluate {folder}")
    return Probed(folder, tuple(rows))


def _check(experiment: config.Experiment) -> None:
    if not isinstance(experiment.head, config.LinearClassifier):
        raise SettingsError(f"head.kind: a probe is for linear_classifier, not {experiment.head.kind}")
    if experiment.head.dropout:
        raise SettingsError("head.dropout: classifiers that are trained at once on the same features take none; use 0")
    if experiment.evaluation.split == "train":
        raise SettingsError("evaluation.split: a probe is measured on pictures that it has not seen; use val or test")
    if experiment.backbone.trainable or not isinstance(experiment.adapter, config.Frozen):
        raise SettingsError(
            "probe: features are computed once, so nothing in the backbone can learn; "
            "add backbone.trainable=none adapter=frozen, or train the experiment"
        )


def _competition(preparation: Preparation, settings: config.Probe, progress: Progress) -> Competition:
    preparation.model.to(preparation.device)
    train, measured = preparation.train, preparation.measured
    return Competition(
        views=[_features(preparation, train, view, progress) for view in range(settings.views)],
        measured=_features(preparation, measured, 0, progress),
        labels=train.labels,
        settings=settings,
        seed=preparation.experiment.seed,
    )


def _features(preparation: Preparation, records: Records, view: int, progress: Progress) -> PooledFeatures:
    """Features of every picture as it is (view 0), or as the training of epoch `view` would show it."""
    experiment, model = preparation.experiment, preparation.model
    batch_size, device = experiment.training.pictures_per_step, preparation.device.type
    data, seed = experiment.data.model_copy(update={"repeat_rare": 0.0}), experiment.seed
    multiple = model.size_multiple
    if view == 0:
        loader = evaluation_loader(records, data, batch_size=batch_size, multiple=multiple, device_type=device)
    else:
        loader = training_loader(records, data, batch_size=batch_size, multiple=multiple, seed=seed, device_type=device)
        assert isinstance(loader.batch_sampler, TrainBatchSampler)
        loader.batch_sampler.set_epoch(view)
    progress.start(f"{records.name}, view {view + 1}", len(loader))
    try:
        augmentation = data.augmentation if view else None
        return compute_features(
            model, loader, preparation.precision, lambda _: progress.advance(), augmentation=augmentation, seed=seed
        )
    finally:
        end_workers(loader)


def _write(folder: Path, preparation: Preparation, settings: config.Probe, rows: Sequence[Row]) -> None:
    """The table, and the model that has the best linear classifier as its head by now."""
    *_, linear = best_of_each(rows)
    description = Description(
        experiment=preparation.experiment,
        labels=preparation.train.labels,
        backbone_sha256=preparation.model.backbone.identity.sha256,
        thresholds={},
        epoch=settings.epochs - 1,
        metrics=linear.numbers,
    )
    write_checkpoint(folder / "checkpoints" / "best_top1.safetensors", preparation.model, description)
    write_json(folder / "metrics.json", description.metrics)
    write_json(folder / "probe.json", {"settings": settings.model_dump(), "rows": [vars(row) for row in rows]})
    write_text(folder / "table.md", markdown(rows))
