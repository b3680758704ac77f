"""Memory in use and memory left, from what the system and torch tell."""

import sys
from pathlib import Path

import torch

from dinotune.heap import give_back_freed_memory

GROUP_FILES = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))
"""Limit and use of a container's memory, in the two versions of Linux' control groups."""


def memory_gb(device: torch.device) -> float:
    """Peak memory of the GPU, or of this process on the CPU, in GiB; 0 where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    if can_measure(device):  # getrusage would count what the parent held when it started this process, too
        return peak_bytes(device) / 2**30
    if sys.platform == "win32":
        return 0.0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)


def can_measure(device: torch.device) -> bool:
    """Whether `reset_peak`, `peak_bytes` and `free_bytes` work: on CUDA, and on the CPU under Linux."""
    return device.type == "cuda" or (device.type == "cpu" and Path("/proc/self/clear_refs").exists())


def reset_peak(device: torch.device) -> None:
    """Let `peak_bytes` count from here on, without what was freed before."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        give_back_freed_memory()
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # proc_pid_clear_refs(5): resets VmHWM


def peak_bytes(device: torch.device) -> int:
    """Most memory that this process held since `reset_peak`."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    return 1024 * _kilobytes("/proc/self/status", "VmHWM")


def free_bytes(device: torch.device) -> int:
    """What this process may use in all: what it holds and what is free."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device)
    held = 1024 * _kilobytes("/proc/self/status", "VmRSS")
    return held + min(1024 * _kilobytes("/proc/meminfo", "MemAvailable"), *_free_in_groups(Path("/sys/fs/cgroup")))


def _free_in_groups(root: Path) -> list[int]:
    """Bytes left in the container; cached files count as free. More than any machine has where there is no limit."""
    left = [sys.maxsize]
    for limit, used in ([root / name for name in names] for names in GROUP_FILES):
        texts = [file.read_text(encoding="ascii").strip() if file.is_file() else "" for file in (limit, used)]
        if all(text.isdigit() for text in texts):
            statistics = (used.parent / "memory.stat").read_text(encoding="ascii").splitlines()
            cached = next((int(line.split()[1]) for line in statistics if line.startswith("inactive_file ")), 0)
            left.append(max(0, int(texts[0]) - int(texts[1]) + cached))
    return left


def _kilobytes(file: str, name: str) -> int:
    lines = Path(file).read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
