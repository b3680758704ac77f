"""Cores and memory that this process may use, within the limits of a container."""

import os
import platform
from pathlib import Path


def available_cores(root: Path = Path("/")) -> int:
    """Cores that this process may run on, at most what its control group grants (Linux)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _read(root / "sys/fs/cgroup/cpu.max").partition(" ")
    if quota.isdigit() and period.isdigit():
        cores = min(cores, max(1, int(quota) // int(period)))
    return cores


def available_memory(root: Path = Path("/")) -> int | None:
    """Bytes that can be taken without swapping, at most what the control group leaves (Linux); none where unknown."""
    if platform.system() != "Linux":
        return None
    sizes = dict(line.split(":", 1) for line in _read(root / "proc/meminfo").splitlines() if ":" in line)
    if "MemAvailable" not in sizes:
        return None
    free = int(sizes["MemAvailable"].split()[0]) * 1024
    limit, used = (_read(root / f"sys/fs/cgroup/memory.{name}") for name in ("max", "current"))
    if limit.isdigit() and used.isdigit():
        statistics = dict(line.split(" ", 1) for line in _read(root / "sys/fs/cgroup/memory.stat").splitlines())
        # Pages of files that were read once count as used, but are given up at once.
        free = min(free, int(limit) - int(used) + int(statistics.get("inactive_file", 0)))
    return max(free, 0)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
