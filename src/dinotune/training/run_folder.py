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
    folder = out or _free_name(Path("runs") / f"{experiment.name}-{datetime.now():%Y%m%d-%H%M%S}")
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
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "experiment.yaml", dump_experiment(experiment))
    if out is None:
        _point_latest(folder)
    return folder


def _free_name(folder: Path) -> Path:
    candidates = [folder, *(folder.with_name(f"{folder.name}-{number}") for number in range(2, 1000))]
    return next(candidate for candidate in candidates if not candidate.exists())


def _point_latest(folder: Path) -> None:
    link = folder.parent / "latest"
    if link.is_symlink() or not link.exists():
        link.unlink(missing_ok=True)
        link.symlink_to(folder.name, target_is_directory=True)


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
