"""Rules from facts to findings, in the order of the page. Pure: a table of made-up machines tests them."""

from collections.abc import Iterator

from dinotune.backbones.hub import UNGATED
from dinotune.doctor.facts import Disk, Facts
from dinotune.doctor.findings import GIB, Finding, Level, in_gib
from dinotune.doctor.gpu_rules import check_gpu

GATED = "facebook/dinov3-vits16-pretrain-lvd1689m"


def examine(facts: Facts) -> list[Finding]:
    """Everything there is to say about a machine."""
    return [
        *_check_versions(facts),
        *check_gpu(facts),
        *_check_processor(facts),
        *_check_shared_memory(facts),
        *_check_disks(facts),
        *_check_weights(facts),
    ]


def _check_versions(facts: Facts) -> Iterator[Finding]:
    # Torch's own word names its build too: 2.9.1+cpu.
    versions = dict(facts.versions) | ({"torch": facts.torch.version} if facts.torch.version else {})
    there = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    yield Finding(Level.OK, "versions", there)
    missing = [name for name, version in facts.versions.items() if version is None]
    if missing:
        yield Finding(
            Level.FAIL, "versions", f"not installed: {', '.join(missing)}", "uv sync, or pip install dinotune"
        )


def _check_processor(facts: Facts) -> Iterator[Finding]:
    workers = "loaded by the training process itself" if facts.cores == 1 else "for loading pictures and computing"
    yield Finding(Level.OK, "processor", f"{facts.cores} core{'s' if facts.cores > 1 else ''}, {workers}")
    if facts.memory is None:
        return
    free = f"{in_gib(facts.memory)} free"
    if facts.memory < 4 * GIB:
        level = Level.FAIL if facts.memory < GIB else Level.WARN
        yield Finding(level, "memory", free, "close other programs; data.workers=0 and a small data.size need least")
    else:
        yield Finding(Level.OK, "memory", free)


def _check_shared_memory(facts: Facts) -> Iterator[Finding]:
    """Loading processes hand pictures over in /dev/shm; Docker gives it 64 MiB."""
    if facts.shared_memory is None:
        return
    free = f"{in_gib(facts.shared_memory)} free in /dev/shm"
    if facts.shared_memory < GIB:
        remedy = "set data.workers=0, or start the container with --shm-size=8g (or --ipc=host)"
        yield Finding(Level.WARN, "shared memory", f"{free}, too little for processes that load pictures", remedy)
    else:
        yield Finding(Level.OK, "shared memory", free)


def _check_disks(facts: Facts) -> Iterator[Finding]:
    if facts.runs.error:
        remedy = "start in a folder that you may write to, or give one with --out"
        yield Finding(Level.FAIL, "runs", f"{facts.runs.path}: {facts.runs.error}", remedy)
    yield _check_room("runs", facts.runs, fewest=GIB // 2, enough=5 * GIB, remedy="free some, or write with --out")
    remedy = "free some, or set HF_HOME to a folder on a larger disk"
    yield _check_room("hub cache", facts.cache, fewest=0, enough=2 * GIB, remedy=remedy)


def _check_room(topic: str, disk: Disk, *, fewest: int, enough: int, remedy: str) -> Finding:
    if disk.free is None:
        return Finding(Level.WARN, topic, f"{disk.path}: free space unknown")
    message = f"{disk.path}: {in_gib(disk.free)} free"
    if disk.free >= enough:
        return Finding(Level.OK, topic, message)
    return Finding(Level.FAIL if disk.free < fewest else Level.WARN, topic, message, remedy)


def _check_weights(facts: Facts) -> Iterator[Finding]:
    weights = facts.weights
    if weights.error:
        yield Finding(Level.FAIL, "weights", weights.error, "set DINOTUNE_WEIGHTS to a folder, or unset it")
    if weights.local:
        yield Finding(Level.OK, "weights", f"on this machine: {', '.join(weights.local)}")
    refusal = weights.refusals.get(UNGATED)
    if refusal is None:
        yield Finding(Level.OK, "hub", f"gives {UNGATED}")
    elif weights.local:
        yield Finding(Level.OK, "hub", f"{refusal}; the weights on this machine can be used")
    else:
        remedy = (
            "connect to the hub, or name a local snapshot or .pth file as backbone=PATH or in DINOTUNE_WEIGHTS=FOLDER; "
            "backbone=tiny-dinov3 learns from scratch and needs no weights"
        )
        yield Finding(Level.WARN, "hub", f"no pretrained weights can be had: {refusal}", remedy)
    if refusal is None:
        yield _check_gated(facts)


def _check_gated(facts: Facts) -> Finding:
    refusal = facts.weights.refusals.get(GATED)
    if refusal is None:
        return Finding(Level.OK, "DINOv3", f"the hub gives {GATED}")
    log_in = f"accept the licence at https://huggingface.co/{GATED} and log in: hf auth login"
    if facts.weights.token:
        return Finding(Level.WARN, "DINOv3", refusal, log_in)
    return Finding(Level.OK, "DINOv3", f"gated, and no token is here; if you want it, {log_in}")
