"""The run folder: made new, never written over in silence, described by experiment.yaml and environment.json.

Loads no torch, so that a folder that is not free is refused at once.
"""

import json
import platform
import shutil
import sys
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from dinotune import config
from dinotune.config.loading import dump_experiment
from dinotune.errors import SettingsError
from dinotune.files import check_folder, write_json, write_text

if TYPE_CHECKING:
    import torch

PACKAGES = ("dinotune", "torch", "torchvision", "timm", "lightning", "faster-coco-eval", "numpy", "pillow")


def create_run_folder(experiment: config.Experiment, out: Path | None, *, overwrite: bool = False) -> Path:
    """An empty folder for one run: `out`, or `runs/NAME-DATE-TIME` with `runs/latest` pointing to it."""
    if out is None:
        folder = _new_folder(Path("runs") / f"{experiment.name}-{datetime.now():%Y%m%d-%H%M%S}")
        _point_latest(folder)
    else:
        check_free(experiment, out, overwrite=overwrite)
        folder = out.resolve() if out.is_symlink() else out
        if folder.is_dir() and any(folder.iterdir()):
            shutil.rmtree(folder)
        _make(folder)
    write_text(folder / "experiment.yaml", dump_experiment(experiment))
    return folder


def check_free(experiment: config.Experiment, out: Path, *, overwrite: bool = False) -> None:
    """SettingsError where no run can be written into `out`: a file, or a folder that must be left alone."""
    folder = out.resolve() if out.is_symlink() else out
    check_folder(folder)
    if folder.is_dir() and any(folder.iterdir()):
        if not overwrite:
            raise SettingsError(
                f"out: {folder} is not empty; go on with --resume {folder}, replace it with --overwrite, "
                "or name another folder"
            )
        _check_replaceable(folder, experiment)


def _check_replaceable(folder: Path, experiment: config.Experiment) -> None:
    """Only a run may be replaced, and none that holds the data or the place where the user stands."""
    missing = [name for name in ("experiment.yaml", "train.log") if not (folder / name).is_file()]
    if missing:
        raise SettingsError(f"out: {folder} is no run folder (no {missing[0]}), so --overwrite leaves it alone")
    inside = [
        path for path in (Path.cwd(), *local_paths(experiment)) if path.resolve().is_relative_to(folder.resolve())
    ]
    if inside:
        raise SettingsError(f"out: {inside[0]} lies in {folder}, so --overwrite leaves it alone; name another folder")


def local_paths(experiment: config.Experiment) -> list[Path]:
    """Everything on this machine that an experiment reads: data, a backbone's folder or file, a model to start from."""
    splits = (experiment.data.train, experiment.data.val, experiment.data.test)
    named = [experiment.data.root, *(path for s in splits for path in (s.images, s.annotations, s.subset))]
    named.append(experiment.training.initialize_from)
    backbone = Path(experiment.backbone.id).expanduser()
    return [path for path in named if path is not None] + ([backbone] if backbone.exists() else [])


def with_absolute_paths(experiment: config.Experiment) -> config.Experiment:
    """The same experiment, readable from any directory."""

    def absolute(split: config.Split) -> config.Split:
        paths = {"images": split.images, "annotations": split.annotations, "subset": split.subset}
        return split.model_copy(update={name: path.absolute() for name, path in paths.items() if path is not None})

    data, backbone, source = experiment.data, experiment.backbone, experiment.training.initialize_from
    root = {"root": data.root.absolute()} if data.root is not None else {}
    splits = {name: absolute(getattr(data, name)) for name in ("train", "val", "test")}
    path = Path(backbone.id).expanduser()
    weights = {"id": str(path.absolute())} if path.exists() else {}
    return experiment.model_copy(
        update={
            "data": data.model_copy(update={**root, **splits}),
            "backbone": backbone.model_copy(update=weights),
            "training": experiment.training.model_copy(update={"initialize_from": source and source.absolute()}),
        }
    )


def _make(folder: Path, *, exist_ok: bool = True) -> bool:
    """Make the folder; false where it is there already and must not be."""
    try:
        folder.mkdir(parents=True, exist_ok=exist_ok)
    except OSError as error:
        if isinstance(error, FileExistsError) and folder.is_dir():
            return False
        raise SettingsError(f"out: {folder} cannot be made ({error}); name another folder with --out") from None
    return True


def _new_folder(folder: Path) -> Path:
    """A folder made by this call alone, also where other runs start in the same second."""
    candidates = [folder, *(folder.with_name(f"{folder.name}-{number}") for number in range(2, 1000))]
    return next(candidate for candidate in candidates if _make(candidate, exist_ok=False))


def _point_latest(folder: Path) -> None:
    link = folder.parent / "latest"
    if link.is_symlink() or not link.exists():
        # Renamed over the old link, so that runs that start together do not meet half a change.
        new = link.with_name(f".latest-{folder.name}")
        new.symlink_to(folder.name, target_is_directory=True)
        new.replace(link)


def write_environment(folder: Path, device: "torch.device", precision: str, learning: Mapping[str, int]) -> None:
    """Record with what software and hardware the run was made, and how many parameters of each part learn.

    A resumed run adds an entry.
    """
    import torch

    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    environment = {
        "command": sys.argv,
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": str(device),
        "gpu": gpu,
        "precision": precision,
        "learning_parameters": dict(learning),
        "packages": {name: _version(name) for name in PACKAGES},
    }
    path = folder / "environment.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    write_json(path, [*before, environment])


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
