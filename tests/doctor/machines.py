"""Made-up machines for the doctor."""

from dataclasses import replace
from typing import Any

from dinotune.backbones.hub import UNGATED
from dinotune.doctor.facts import Disk, Driver, Facts, Gpu, Torch, Weights
from dinotune.doctor.findings import GIB
from dinotune.doctor.rules import GATED

H100 = Gpu("NVIDIA H100", (9, 0), 80 * GIB)
L4 = Gpu("NVIDIA L4", (8, 9), 24 * GIB)
GTX_1080 = Gpu("NVIDIA GeForce GTX 1080", (6, 1), 8 * GIB)
B300 = Gpu("NVIDIA B300", (13, 0), 280 * GIB)
ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120")

CUDA_13 = Torch("2.15.0+cu130", cuda="13.0", architectures=ARCHITECTURES)
CUDA_12 = Torch("2.9.1+cu126", cuda="12.6", architectures=("sm_50", "sm_60", "sm_90"))
CPU_BUILD = Torch("2.15.0+cpu")

ALL_WELL = Facts(
    system="Linux",
    versions={"dinotune": "0.1.0", "python": "3.12.1", "torch": "2.15.0"},
    driver=Driver("580.65.06", (H100,)),
    torch=replace(CUDA_13, available=True, gpus=(H100,)),
    visible_devices=None,
    cores=16,
    memory=64 * GIB,
    shared_memory=32 * GIB,
    runs=Disk("runs", 100 * GIB),
    cache=Disk("hub", 100 * GIB),
    weights=Weights(("facebook/dinov2-small",), {UNGATED: None, GATED: None}, token=True),
)


def machine(**changes: Any) -> Facts:
    """The machine where all is well, with changes."""
    return replace(ALL_WELL, **changes)


def unseen(driver: Driver | None, torch: Torch, **changes: Any) -> Facts:
    """A machine whose torch finds no GPU."""
    return machine(driver=driver, torch=torch, **changes)
