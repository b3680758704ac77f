"""Whether driver, GPU and torch's build fit together. Pure: facts go in, findings come out."""

import re
from collections.abc import Iterator

from dinotune.doctor.facts import Driver, Facts, Gpu, Torch
from dinotune.doctor.findings import Finding, Level, in_gib

OLDEST_DRIVERS = {13: (580, 580), 12: (525, 527), 11: (450, 452)}
"""Oldest driver branch on Linux and on Windows for each CUDA major version, newest first.

NVIDIA, "CUDA Compatibility", table of minor version compatibility.
"""

REINSTALL = (
    "uv pip install --reinstall torch torchvision --torch-backend=auto (takes the build for this driver; "
    "then start with: uv run --no-sync dinotune)"
)

HIDDEN = ("", "-1", "NoDevFiles", "none", "void")
"""Values of CUDA_VISIBLE_DEVICES that hide every GPU."""


def check_gpu(facts: Facts) -> list[Finding]:
    """Findings on what will compute; a machine without any GPU is no failure."""
    torch = facts.torch
    late = [Finding(Level.LATE, "torch", _unknown(torch), "run dinotune doctor again")] if torch.late else []
    return [*late, *(_check_gpu(facts) if torch.version or not torch.late else [])]


def _unknown(torch: Torch) -> str:
    unknown = "whether it fits torch" if torch.version else "whether it works here and finds a GPU"
    return f"{torch.late} on this machine, busy or slow; not known: {unknown}"


def _check_gpu(facts: Facts) -> list[Finding]:
    torch = facts.torch
    if not torch.loads:
        remedy = "install torch and torchvision anew: uv sync --reinstall-package torch --reinstall-package torchvision"
        return [Finding(Level.FAIL, "torch", torch.error, remedy)]
    if torch.available:
        return list(_check_seen(facts))
    if torch.mps:
        return [Finding(Level.OK, "GPU", f"Apple GPU, through torch {torch.version}")]
    if facts.driver is None:
        message = "none, so training runs on the CPU; dinotune new FOLDER chooses small settings for it"
        return [Finding(Level.OK, "GPU", message)]
    return [_why_unseen(facts, facts.driver)]


def _check_seen(facts: Facts) -> Iterator[Finding]:
    torch = facts.torch
    build = f"ROCm {torch.hip}" if torch.hip else f"CUDA {torch.cuda}"
    driver = f", driver {facts.driver.version}" if facts.driver and facts.driver.version else ""
    for gpu in torch.gpus:
        memory = f" with {in_gib(gpu.memory)}" if gpu.memory else ""
        yield Finding(Level.OK, "GPU", f"{gpu.name}{memory}{driver}, torch {torch.version} for {build}")
        # ROCm names its architectures otherwise (gfx90a), and finds only those it has code for.
        if not torch.hip and gpu.capability and torch.architectures and not _has_code(torch, gpu.capability):
            yield _without_code(torch, gpu)


def _has_code(torch: Torch, capability: tuple[int, int]) -> bool:
    """Whether a build runs on a GPU: machine code of the same major version and no newer, or older PTX."""
    for architecture in torch.architectures:
        match = re.fullmatch(r"(sm|compute)_(\d+)(\d)[a-z]?", architecture)
        if match is None:
            continue
        built = (int(match[2]), int(match[3]))
        if built <= capability and (match[1] == "compute" or built[0] == capability[0]):
            return True
    return False


def _without_code(torch: Torch, gpu: Gpu) -> Finding:
    assert gpu.capability is not None
    major, minor = gpu.capability
    numbers = [match[1] for name in torch.architectures if (match := re.search(r"_(\d+)", name))]
    older = all(major * 10 + minor < int(number) for number in numbers)
    message = (
        f"{gpu.name} has compute capability {major}.{minor}, but torch {torch.version} holds code only for "
        f"{', '.join(torch.architectures)}"
    )
    build = "a build for an older CUDA, e.g. --torch-backend=cu126" if older else "a newer torch"
    return Finding(
        Level.FAIL, "GPU", message, f"install {build}: uv pip install --reinstall torch torchvision; or set device=cpu"
    )


def _why_unseen(facts: Facts, driver: Driver) -> Finding:
    """There is a driver, but torch finds no GPU."""
    torch = facts.torch
    names = ", ".join(gpu.name for gpu in driver.gpus) or "an NVIDIA driver"
    what = f"{names} (driver {driver.version or 'unknown'})"
    if facts.visible_devices is not None and facts.visible_devices.strip() in HIDDEN:
        hidden = f'{what} is hidden by CUDA_VISIBLE_DEVICES="{facts.visible_devices}"'
        return _failure(hidden, "unset CUDA_VISIBLE_DEVICES; or set device=cpu")
    if driver.error and not driver.gpus:
        return _failure(f"nvidia-smi fails: {driver.error}", _mend_driver(driver.error))
    if torch.cuda is None:
        return _failure(f"{what}, but torch {torch.version} is built without CUDA", f"{REINSTALL}; or set device=cpu")
    oldest = _oldest_driver(torch.cuda, facts.system)
    if driver.version and oldest and _branch(driver.version) < oldest:
        message = (
            f"{what} is too old: torch {torch.version} is built for CUDA {torch.cuda}, which needs {oldest} or newer"
        )
        return _failure(message, _newer_driver_or_older_build(driver.version, oldest, facts.system))
    said = f" ({torch.error})" if torch.error else ""
    message = f"{what} fits torch {torch.version} for CUDA {torch.cuda}, but torch finds no GPU{said}"
    return _failure(message, "restart the machine after an update of the driver; in a container use --gpus all")


def _failure(message: str, remedy: str) -> Finding:
    return Finding(Level.FAIL, "GPU", message, remedy)


def _mend_driver(error: str) -> str:
    if "mismatch" in error:
        return "the driver was updated while running: restart the machine"
    if "No devices" in error:
        return "no GPU is handed to this machine; in a container use --gpus all; or set device=cpu"
    return "install the driver anew (https://www.nvidia.com/drivers), or restart the machine; or set device=cpu"


def _newer_driver_or_older_build(version: str, oldest: int, system: str) -> str:
    newer = f"update the NVIDIA driver to {oldest} or newer (https://www.nvidia.com/drivers)"
    fitting = [major for major in OLDEST_DRIVERS if _branch(version) >= (_oldest_driver(str(major), system) or 0)]
    return f"{newer}, or install torch for CUDA {fitting[0]}: {REINSTALL}" if fitting else newer


def _oldest_driver(cuda: str, system: str) -> int | None:
    drivers = OLDEST_DRIVERS.get(int(cuda.partition(".")[0]))
    return None if drivers is None else drivers[system == "Windows"]


def _branch(version: str) -> int:
    return int(version.partition(".")[0])
