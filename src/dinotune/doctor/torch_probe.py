"""Prints as JSON what torch sees, then again whether torchvision fits; a broken driver or build can crash or hang it.

Run as `python -m dinotune.doctor.torch_probe`.
"""

import json
import warnings
from collections.abc import Iterator
from dataclasses import asdict

from dinotune.doctor.facts import Gpu, Torch


def probe() -> Iterator[Torch]:
    """Load torch and look for GPUs; then load torchvision, which takes as long again."""
    try:
        yield _look()
        import torchvision  # noqa: F401  # a wrong pair of builds shows here
    except (ImportError, OSError, RuntimeError) as error:
        yield Torch(error=f"{type(error).__name__}: {str(error).splitlines()[0]}", loads=False)


def _look() -> Torch:
    import torch

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
    for torch in probe():
        print(json.dumps(asdict(torch)), flush=True)
