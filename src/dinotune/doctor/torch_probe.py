"""Prints as JSON what torch sees; a process of its own, since a broken driver or build can crash or hang.

Run as `python -m dinotune.doctor.torch_probe`.
"""

import json
import warnings
from dataclasses import asdict

from dinotune.doctor.facts import Gpu, Torch


def probe() -> Torch:
    """Load torch and torchvision and look for GPUs."""
    try:
        import torch
        import torchvision  # noqa: F401  # a wrong pair of builds shows here
    except (ImportError, OSError, RuntimeError) as error:
        return Torch(error=f"{type(error).__name__}: {str(error).splitlines()[0]}", loads=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        available = torch.cuda.is_available()
        gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())] if available else []
    said = next((str(warning.message).splitlines()[0] for warning in caught), "")
    return Torch(
        version=torch.__version__,
        cuda=torch.version.cuda,
        hip=torch.version.hip,
        available=available,
        mps=torch.backends.mps.is_available(),
        architectures=tuple(torch.cuda.get_arch_list()),
        gpus=tuple(Gpu(gpu.name, (gpu.major, gpu.minor), gpu.total_memory) for gpu in gpus),
        error=said,
    )


if __name__ == "__main__":
    print(json.dumps(asdict(probe())))
