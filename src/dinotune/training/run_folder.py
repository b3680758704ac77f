"""The run folder: made new, never written over in silence, described by experiment.yaml and environment.json."""

import platform
import shutil
import sys
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from dinotune import config
from dinotune.config.loading import dump_experiment
from dinotune.errors import SettingsError
from dinotune.files import write_json, write_text

PACKAGES = ("dinotune", "torch", "torchvision", "timm", "lightning", "faster-coco-eval", "numpy", "pillow")


def create_run_folder(experiment: config.Experiment, out: Path | None, *, overwrite: bool = False) -> Path:
    """An empty folder for one run: `out`, or `runs/NAME-DATE-TIME` with `runs/latest` pointing to it."""
    if out is None:
        folder = _new_folder(Path("runs") / f"{experiment.name}-{datetime.now():%Y%m%d-%H%M%S}")
        _point_latest(folder)
    else:
        folder = out.resolve() if out.is_symlink() else out
        _empty(folder, overwrite=overwrite)
    write_text(folder / "experiment.yaml", dump_experiment(experiment))
    return folder


def _empty(folder: Path, *, overwrite: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise SettingsError(f"out: {folder} is a file; name a folder")
    if folder.is_dir() and any(folder.iterdir()):
        if not overwrite:
            raise SettingsError(
                f"out: {folder} is not empty; go on with --resume {folder}, replace it with --overwrite, "
                "or name another folder"
            )
        if not (folder / "experiment.yaml").is_file():
            raise SettingsError(f"out: {folder} is no run folder (no experiment.yaml), so --overwrite leaves it alone")
        shutil.rmtree(folder)
    _make(folder)


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


def write_environment(folder: Path, device: torch.device, precision: str) -> None:
    """Record with what software and hardware the run was made."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    environment = {
        "command": sys.argv,
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": str(device),
        "gpu": gpu,
        "precision": precision,
        "packages": {name: _version(name) for name in PACKAGES},
    }
    write_json(folder / "environment.json", environment)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
