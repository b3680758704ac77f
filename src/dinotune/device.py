"""Where to compute: never a silent fall back to the CPU."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Literal

import torch

from dinotune.errors import DinotuneError, SettingsError

Precision = Literal["fp32", "bf16", "fp16"]

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_device(wanted: str) -> torch.device:
    """The device of `device: auto|cuda|mps|cpu`; one that is asked for and missing is an error.

    `auto` refuses the CPU where an NVIDIA driver is present but torch finds no GPU.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        if not available["cuda"] and Path("/dev/nvidiactl").exists():
            raise SettingsError(f"device: an NVIDIA driver is present, but {_why_no_gpu()}; or set device=cpu")
        return torch.device(next(kind for kind, there in available.items() if there))
    if not available.get(wanted, False):
        usable = ", ".join(kind for kind, there in available.items() if there)
        reasons = {"cuda": _why_no_gpu(), "mps": "no Apple GPU that torch can use"}
        why = reasons.get(wanted, "no such kind of device")
        raise SettingsError(f"device: {wanted} is not available here ({why}); usable: {usable}")
    return torch.device(wanted)


def _why_no_gpu() -> str:
    if torch.version.cuda is None:
        return "this torch is built without CUDA; install a CUDA build"
    return f"torch {torch.__version__} (built for CUDA {torch.version.cuda}) finds no GPU; compare driver and build"


def resolve_precision(wanted: str, device: torch.device) -> Precision:
    """The precision of `training.precision` on this device; `auto` is bf16 on a GPU that has it."""
    if wanted == "fp16" and device.type == "cpu":
        raise SettingsError('training.precision: "fp16" needs a GPU; use "fp32" or "bf16"')
    match wanted:
        case "fp32" | "bf16" | "fp16":
            return wanted
        case _:
            return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Autocast around a forward pass; weights stay fp32."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=_DTYPES[precision], cache_enabled=False)


SMALLER_BATCHES = (
    "halve training.batch_size (and double training.accumulate to keep the course of training), "
    "evaluation.batch_size, or lower data.size"
)


@contextmanager
def memory_explained(remedy: str = SMALLER_BATCHES) -> Iterator[None]:
    """Say what would fit where a GPU runs out of memory."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise DinotuneError(f"out of GPU memory ({str(error).splitlines()[0]}); {remedy}") from error
