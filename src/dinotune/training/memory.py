"""Memory in use, for the progress bar."""

import resource
import sys

import torch


def memory_gb(device: torch.device) -> float:
    """Peak memory of the GPU, or of this process on the CPU, in GiB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)
