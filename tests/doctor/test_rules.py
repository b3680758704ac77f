"""Findings on made-up machines: which line is how bad, what it says and what to do."""

import re
from dataclasses import replace

import pytest

from dinotune.backbones.hub import UNGATED
from dinotune.doctor.facts import Disk, Driver, Facts, Torch, Weights
from dinotune.doctor.findings import GIB, Finding
from dinotune.doctor.report import as_json, can_train, page
from dinotune.doctor.rules import GATED, examine
from tests.doctor.machines import (
    ALL_WELL,
    ARCHITECTURES,
    B300,
    CPU_BUILD,
    CUDA_12,
    CUDA_13,
    GTX_1080,
    H100,
    L4,
    machine,
    unseen,
)

NO_HUB = "the hub is out of reach (no network)"


def worst(facts: Facts, topic: str) -> Finding:
    order = ["ok", "warn", "fail"]
    return max((f for f in examine(facts) if f.topic == topic), key=lambda finding: order.index(finding.level))


GPU_MACHINES = {
    "all well": (ALL_WELL, "ok", r"NVIDIA H100 with 80\.0 GiB, driver 580\.65\.06, torch 2\.15\.0\+cu130 for CUDA 13\.0", ""),
    "no GPU": (unseen(None, CUDA_13), "ok", "none, so training runs on the CPU", ""),
    "no GPU, CPU build": (unseen(None, CPU_BUILD), "ok", "none, so training runs on the CPU", ""),
    "Apple": (unseen(None, replace(CPU_BUILD, mps=True)), "ok", "Apple GPU", ""),
    "AMD": (machine(driver=None, torch=Torch("2.9+rocm6.4", hip="6.4", available=True, gpus=(L4,), architectures=("gfx90a",))), "ok", r"ROCm 6\.4", ""),
    "CUDA 13 on a driver for CUDA 12": (
        unseen(Driver("550.54.15", (L4,)), CUDA_13),
        "fail",
        r"NVIDIA L4 \(driver 550\.54\.15\) is too old: torch 2\.15\.0\+cu130 is built for CUDA 13\.0, which needs 580 or newer",
        r"update the NVIDIA driver to 580 or newer .*, or install torch for CUDA 12: .*--torch-backend=auto",
    ),
    "just old enough": (unseen(Driver("580.65.06", (L4,)), CUDA_13), "fail", "fits torch .* finds no GPU", "--gpus all"),
    "CUDA 12 on a driver for CUDA 11": (unseen(Driver("470.57.02", (L4,)), CUDA_12), "fail", "needs 525 or newer", "for CUDA 11"),
    "a driver older than all": (unseen(Driver("390.1", (L4,)), CUDA_12), "fail", "needs 525 or newer", r"update the NVIDIA driver to 525 or newer \(https\S+\)$"),
    "CUDA 12 on Windows": (unseen(Driver("526.1", (L4,)), CUDA_12, system="Windows"), "fail", "needs 527 or newer", "527 or newer"),
    "the same number on Linux": (unseen(Driver("526.1", (L4,)), CUDA_12), "fail", "finds no GPU", "restart"),
    "CUDA of the future": (unseen(Driver("700.1", (L4,)), replace(CUDA_13, cuda="14.1")), "fail", "finds no GPU", "restart"),
    "torch says why": (unseen(Driver("580.1", (L4,)), replace(CUDA_13, error="CUDA unknown error")), "fail", r"finds no GPU \(CUDA unknown error\)", "restart"),
    "CPU build beside a GPU": (unseen(Driver("580.1", (L4,)), CPU_BUILD), "fail", r"but torch 2\.15\.0\+cpu is built without CUDA", "--torch-backend=auto"),
    "hidden": (unseen(Driver("580.1", (L4,)), CUDA_13, visible_devices=""), "fail", "hidden by CUDA_VISIBLE_DEVICES", "unset"),
    "not hidden": (unseen(Driver("580.1", (L4,)), CUDA_13, visible_devices="0"), "fail", "finds no GPU", ""),
    "updated while running": (unseen(Driver(None, error="Failed to initialize NVML: Driver/library version mismatch"), CUDA_13), "fail", "version mismatch", "restart the machine"),
    "container without the GPU": (unseen(Driver("580.1", error="No devices were found"), CUDA_13), "fail", "No devices were found", "--gpus all"),
    "driver without nvidia-smi": (unseen(Driver("550.1"), CUDA_13), "fail", r"an NVIDIA driver \(driver 550\.1\) is too old", "580"),
    "version unknown": (unseen(Driver(None), CUDA_13), "fail", "finds no GPU", "restart"),
    "GPU too old for the build": (machine(torch=replace(CUDA_13, available=True, gpus=(GTX_1080,))), "fail", r"compute capability 6\.1, but torch .* only for sm_75, .*sm_120", "a build for an older CUDA"),
    "GPU too new for the build": (machine(torch=replace(CUDA_13, available=True, gpus=(H100, B300))), "fail", r"NVIDIA B300 has compute capability 13\.0", "a newer torch"),
    "same major version": (machine(torch=replace(CUDA_13, available=True, gpus=(L4,))), "ok", "NVIDIA L4", ""),
    "PTX for a newer GPU": (machine(torch=replace(CUDA_13, available=True, gpus=(B300,), architectures=(*ARCHITECTURES, "compute_120"))), "ok", "B300", ""),
    "newer minor version only": (machine(torch=replace(CUDA_13, available=True, gpus=(H100,), architectures=("sm_90a",))), "ok", "H100", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", GPU_MACHINES)
def test_gpu(name: str) -> None:
    facts, level, message, remedy = GPU_MACHINES[name]
    finding = worst(facts, "GPU")
    assert finding.level == level
    assert_found(message, finding.message)
    assert_found(remedy, finding.remedy)
    assert bool(finding.remedy) is (level == "fail")
    assert can_train(examine(facts)) is (level != "fail")


def assert_found(pattern: str, text: str) -> None:
    assert re.search(pattern, text), f"{pattern!r} is not in {text!r}"


def test_torch_that_does_not_load_is_said_instead_of_the_gpu() -> None:
    facts = machine(torch=Torch(error="ImportError: libcudart.so.13", loads=False))
    finding = worst(facts, "torch")
    assert (finding.level, finding.message) == ("fail", "ImportError: libcudart.so.13")
    assert "uv sync --reinstall-package torch" in finding.remedy
    assert [f for f in examine(facts) if f.topic == "GPU"] == []


@pytest.mark.parametrize(
    ("torch", "message", "gpu"),
    [
        (Torch(late="torch did not load within 7 s"), "not known: whether it works here and finds a GPU", []),
        (replace(CPU_BUILD, late="torchvision did not load within 7 s"), "not known: whether it fits torch", ["ok"]),
    ],
)
def test_torch_that_loads_late_is_no_failure_and_no_promise(torch: Torch, message: str, gpu: list[str]) -> None:
    findings = examine(unseen(None, torch))
    (late,) = [finding for finding in findings if finding.level == "late"]
    assert late.message.endswith(message)
    assert [finding.level for finding in findings if finding.topic == "GPU"] == gpu
    assert can_train(findings)
    assert page(findings).endswith("but not all was learned in time.")


@pytest.mark.parametrize(
    ("facts", "topic", "level", "remedy"),
    [
        (machine(versions={"torch": "2", "timm": None}), "versions", "fail", "uv sync"),
        (machine(memory=8 * GIB), "memory", "ok", ""),
        (machine(memory=2 * GIB), "memory", "warn", "data.workers=0"),
        (machine(memory=GIB // 2), "memory", "fail", "data.workers=0"),
        (machine(shared_memory=64 * 2**20), "shared memory", "warn", "set data.workers=0, or .*--shm-size=8g"),
        (machine(shared_memory=2 * GIB), "shared memory", "ok", ""),
        (machine(runs=Disk("runs", 2 * GIB)), "runs", "warn", "--out"),
        (machine(runs=Disk("runs", 2**20)), "runs", "fail", "--out"),
        (machine(runs=Disk("runs", 9 * GIB, "cannot be written: Permission denied")), "runs", "fail", "may write to"),
        (machine(runs=Disk("runs", None)), "runs", "warn", ""),
        (machine(cache=Disk("hub", 0)), "hub cache", "warn", "HF_HOME"),
        (machine(weights=Weights(error="DINOTUNE_WEIGHTS: x is no folder")), "weights", "fail", "DINOTUNE_WEIGHTS"),
        (machine(weights=Weights(refusals={UNGATED: NO_HUB, GATED: NO_HUB})), "hub", "warn", "tiny-dinov3"),
        (machine(weights=Weights(("a/b",), {UNGATED: NO_HUB, GATED: NO_HUB})), "hub", "ok", ""),
        (machine(weights=Weights(refusals={UNGATED: None, GATED: "gated"})), "DINOv3", "ok", ""),
        (machine(weights=Weights(refusals={UNGATED: None, GATED: "gated"}, token=True)), "DINOv3", "warn", "hf auth"),
    ],
)
def test_everything_else(facts: Facts, topic: str, level: str, remedy: str) -> None:
    finding = worst(facts, topic)
    assert finding.level == level
    assert_found(remedy, finding.remedy)
    assert can_train(examine(facts)) is (level != "fail")


def test_systems_that_do_not_say_are_no_failure() -> None:
    facts = machine(memory=None, shared_memory=None)
    assert can_train(examine(facts))
    assert {"memory", "shared memory"} & {finding.topic for finding in examine(facts)} == set()


def test_page_has_a_line_per_finding_with_its_remedy() -> None:
    facts = unseen(Driver("550.54.15", (L4,)), CUDA_13, shared_memory=64 * 2**20)
    text = page(examine(facts))
    assert_found(r"(?m)^fail  GPU            NVIDIA L4 .*\n +-> update the NVIDIA driver", text)
    assert_found(r"(?m)^warn  shared memory  0\.1 GiB free", text)
    assert text.endswith("\n1 of these prevent training here")
    assert page(examine(ALL_WELL)).endswith("\nThis machine can train.")
    assert len(page(examine(facts)).splitlines()) <= 25


def test_json_holds_facts_and_findings() -> None:
    content = as_json(ALL_WELL, examine(ALL_WELL))
    assert content["facts"]["driver"]["version"] == "580.65.06"
    assert {finding["level"] for finding in content["findings"]} == {"ok"}
    assert content["can_train"] is True
