"""Memory in use, for the progress bar."""

import sys

import torch


def memory_gb(device: torch.device) -> float:
    """Peak memory of the GPU, or of this process on the CPU, in GiB; 0 where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    if sys.platform == "win32":
        return 0.0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)
