"""What the doctor knows about a machine, as plain values: a report of another machine can be judged as well."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Gpu:
    """One GPU."""

    name: str
    capability: tuple[int, int] | None = None
    """Compute capability, `(8, 6)`."""
    memory: int | None = None
    """Bytes in all."""


@dataclass(frozen=True)
class Driver:
    """The NVIDIA driver."""

    version: str | None
    """`580.65.06`; none where it does not say."""
    gpus: tuple[Gpu, ...] = ()
    error: str = ""
    """What `nvidia-smi` complains about."""


@dataclass(frozen=True)
class Torch:
    """The installed torch and what it sees."""

    version: str = ""
    cuda: str | None = None
    """CUDA that it is built for, `13.0`; none for other builds."""
    hip: str | None = None
    """ROCm that it is built for."""
    available: bool = False
    """Whether it finds a CUDA or ROCm GPU."""
    mps: bool = False
    """Whether it finds an Apple GPU."""
    architectures: tuple[str, ...] = ()
    """GPU architectures that it holds code for: `sm_90`, `compute_120`."""
    gpus: tuple[Gpu, ...] = ()
    error: str = ""
    """Why torch or torchvision cannot be loaded, or what it says about the GPU."""
    loads: bool = True
    late: str = ""
    """What did not load in time, so that its facts are not known."""


@dataclass(frozen=True)
class Weights:
    """Which weights can be had."""

    local: tuple[str, ...] = ()
    """Ids that lie on this machine."""
    refusals: Mapping[str, str | None] = field(default_factory=dict)
    """Why the hub would not give an id, none where it would."""
    token: bool = False
    """Whether a token for the hub is there."""
    error: str = ""
    """What is wrong with the local folder of weights."""


@dataclass(frozen=True)
class Disk:
    """Room below a folder."""

    path: str
    free: int | None
    """Bytes."""
    error: str = ""
    """Why nothing can be written there."""


@dataclass(frozen=True)
class Facts:
    """One machine."""

    system: str
    """`Linux`, `Windows` or `Darwin`."""
    versions: Mapping[str, str | None]
    """Of python and the packages; none for those that are missing."""
    driver: Driver | None
    """None where there is no NVIDIA driver."""
    torch: Torch
    visible_devices: str | None
    """CUDA_VISIBLE_DEVICES, which can hide GPUs."""
    cores: int
    """Processor cores that this process may use."""
    memory: int | None
    """Bytes of memory that are free."""
    shared_memory: int | None
    """Bytes free in /dev/shm; none where there is none."""
    runs: Disk
    """Where run folders are written."""
    cache: Disk
    """Where weights are downloaded to."""
    weights: Weights
