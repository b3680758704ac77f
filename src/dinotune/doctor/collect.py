"""Collects the facts of this machine: every question has a time limit, and all are asked at once."""

import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import dinotune
from dinotune.backbones.hub import UNGATED, refusal
from dinotune.backbones.sources import locate_locally
from dinotune.backbones.variants import VARIANTS
from dinotune.doctor.facts import Disk, Driver, Facts, Gpu, Torch, Weights
from dinotune.doctor.machine import available_cores, available_memory
from dinotune.doctor.rules import GATED
from dinotune.errors import WeightsError

PACKAGES = ("torch", "torchvision", "lightning", "timm")

TORCH_PATIENCE = 7.0
"""Seconds for loading torch and torchvision, which takes 3 to 8 on a small machine that does nothing else."""

DRIVER_PATIENCE = 5.0
"""Seconds for nvidia-smi."""

HUB_PATIENCE = 6.0
"""Seconds for the hub."""

FIELDS = "name,driver_version,compute_cap,memory.total"


def collect() -> Facts:
    """The facts of this machine, within 10 seconds; what took longer is said in their place."""
    with ThreadPoolExecutor() as pool:
        torch, driver = pool.submit(_torch), pool.submit(_driver)
        refusals = {id_: pool.submit(refusal, id_, HUB_PATIENCE) for id_ in (UNGATED, GATED)}
        shared = Path("/dev/shm")
        return Facts(
            system=platform.system(),
            versions=_versions(),
            driver=driver.result(),
            torch=torch.result(),
            visible_devices=os.environ.get("CUDA_VISIBLE_DEVICES"),
            cores=available_cores(),
            memory=available_memory(),
            shared_memory=shutil.disk_usage(shared).free if shared.is_dir() else None,
            runs=_runs(Path("runs")),
            cache=_cache(),
            weights=_weights({id_: answer.result() for id_, answer in refusals.items()}),
        )


def _versions() -> dict[str, str | None]:
    versions: dict[str, str | None] = {"dinotune": dinotune.__version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return versions


def _torch() -> Torch:
    command = [sys.executable, "-m", "dinotune.doctor.torch_probe"]
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=TORCH_PATIENCE)
    except subprocess.TimeoutExpired as late:
        seen = (late.stdout or b"").splitlines()
        torch = torch_from_json(json.loads(seen[0])) if seen else Torch()
        return replace(torch, late=f"torch{'vision' if seen else ''} did not load within {TORCH_PATIENCE:g} s")
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        said = (done.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
        return Torch(error=f"loading torch ended with status {done.returncode}: {said}", loads=False)
    return torch_from_json(json.loads(lines[-1]))


def torch_from_json(content: Mapping[str, Any]) -> Torch:
    """What the probe printed."""
    gpus = tuple(Gpu(gpu["name"], tuple(gpu["capability"]), gpu["memory"]) for gpu in content["gpus"])
    return Torch(**{**content, "architectures": tuple(content["architectures"]), "gpus": gpus})


def _driver() -> Driver | None:
    """What `nvidia-smi` says, else what the kernel module says; none where there is neither."""
    loaded = Path("/proc/driver/nvidia/version")
    version = parse_module_version(loaded.read_text()) if loaded.is_file() else None
    program = shutil.which("nvidia-smi")
    if program is None:
        return Driver(version) if loaded.is_file() or Path("/dev/nvidiactl").exists() else None
    command = [program, f"--query-gpu={FIELDS}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DRIVER_PATIENCE)
    except (subprocess.TimeoutExpired, OSError) as error:
        return Driver(version, error=type(error).__name__)
    if done.returncode or not done.stdout.strip():
        said = (done.stdout + done.stderr).strip().splitlines() or [f"status {done.returncode}"]
        return Driver(version, error=said[0])
    return parse_nvidia_smi(done.stdout)


def parse_nvidia_smi(text: str) -> Driver:
    """Driver and GPUs from lines such as `NVIDIA L4, 550.54.15, 8.9, 23034`."""
    rows = [[cell.strip() for cell in line.split(",")] for line in text.strip().splitlines()]
    gpus = tuple(Gpu(name, _capability(capability), _mebibytes(memory)) for name, _, capability, memory in rows)
    return Driver(rows[0][1], gpus)


def parse_module_version(text: str) -> str | None:
    """Version from /proc/driver/nvidia/version."""
    match = re.search(r"Kernel Module.*?\s(\d+\.\d+(?:\.\d+)?)\s", text)
    return match[1] if match else None


def _capability(text: str) -> tuple[int, int] | None:
    match = re.fullmatch(r"(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else None


def _mebibytes(text: str) -> int | None:
    return int(text) * 2**20 if text.isdigit() else None


def _runs(folder: Path) -> Disk:
    """Writes and reads a file where run folders go; leaves nothing behind, not even `runs`."""
    place = folder if folder.is_dir() else Path()
    shown = str(folder.absolute())
    try:
        with tempfile.NamedTemporaryFile(dir=place, prefix=".doctor-") as file:
            file.write(b"well")
            file.flush()
            if Path(file.name).read_bytes() != b"well":
                return Disk(shown, _free(place), "what is written there cannot be read back")
    except OSError as error:
        return Disk(shown, _free(place), f"cannot be written: {error.strerror}")
    return Disk(shown, _free(place))


def _cache() -> Disk:
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE)
    return Disk(str(folder), _free(folder))


def _free(folder: Path) -> int | None:
    """Bytes free for a folder, which may still have to be made."""
    existing = next((path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir()), None)
    return shutil.disk_usage(existing).free if existing else None


def _weights(refusals: Mapping[str, str | None]) -> Weights:
    from huggingface_hub import get_token

    token = get_token() is not None
    try:
        ids = [id_ for variant in VARIANTS for id_ in (variant.id, variant.timm_id)]
        local = tuple(id_ for id_ in ids if locate_locally(id_) is not None)
    except WeightsError as error:
        return Weights((), refusals, token, str(error))
    return Weights(local, refusals, token)
