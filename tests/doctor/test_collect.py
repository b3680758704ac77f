"""Facts of this machine, and of programs and files that tell of others."""

import json
import stat
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from dinotune.doctor import collect
from dinotune.doctor.facts import Driver, Gpu, Torch
from dinotune.doctor.machine import available_cores, available_memory


def test_nvidia_smi() -> None:
    text = "NVIDIA L4, 550.54.15, 8.9, 23034\nNVIDIA H100 80GB HBM3, 550.54.15, [N/A], [N/A]\n"
    expected = (Gpu("NVIDIA L4", (8, 9), 23034 * 2**20), Gpu("NVIDIA H100 80GB HBM3"))
    assert collect.parse_nvidia_smi(text) == Driver("550.54.15", expected)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19 18:56:32 UTC 2023\n", "535.129.03"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\n", "580.65.06"),
        ("nothing of the kind", None),
    ],
)
def test_kernel_module(text: str, version: str | None) -> None:
    assert collect.parse_module_version(text) == version


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo 'NVIDIA L4, 470.57.02, 8.9, 23034'", Driver("470.57.02", (Gpu("NVIDIA L4", (8, 9), 23034 * 2**20),))),
        ("echo No devices were found; exit 6", "No devices were found"),
        ("echo 'Failed to initialize NVML' >&2; exit 18", "Failed to initialize NVML"),
        ("sleep 30", "TimeoutExpired"),
    ],
)
def test_driver(script: str, expected: Driver | str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script.replace('sleep', 'exec sleep')}\n")
    program.chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(collect, "DRIVER_PATIENCE", 0.5)
    driver = collect._driver()
    assert driver is not None
    assert (driver.error if isinstance(expected, str) else driver) == expected


def test_torch_is_read_back_as_it_was_written() -> None:
    torch = Torch("2.9", cuda="12.6", architectures=("sm_90",), gpus=(Gpu("L4", (8, 9), 5),), error="odd")
    assert collect.torch_from_json(json.loads(json.dumps(asdict(torch)))) == torch


def test_torch_that_hangs_or_crashes_is_a_fact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crashing = tmp_path / "python"
    crashing.write_text("#!/bin/sh\necho 'undefined symbol: cuInit' >&2\nexit 7\n")
    crashing.chmod(stat.S_IRWXU)
    monkeypatch.setattr(sys, "executable", str(crashing))
    torch = collect._torch()
    assert (torch.loads, torch.error) == (False, "loading torch ended with status 7: undefined symbol: cuInit")
    crashing.write_text("#!/bin/sh\nexec sleep 30\n")
    monkeypatch.setattr(collect, "TORCH_PATIENCE", 0.3)
    assert collect._torch() == Torch(late="torch did not load within 0.3 s")
    seen = json.dumps(asdict(Torch("2.9", cuda="12.6")))
    crashing.write_text(f"#!/bin/sh\necho '{seen}'\nexec sleep 30\n")
    monkeypatch.setattr(collect, "TORCH_PATIENCE", 1.0)
    assert collect._torch() == Torch("2.9", cuda="12.6", late="torchvision did not load within 1 s")


def test_all_questions_end_within_ten_seconds() -> None:
    assert max(collect.TORCH_PATIENCE, collect.DRIVER_PATIENCE, collect.HUB_PATIENCE) <= 7  # starting takes 1 to 2


def test_runs_are_tried_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    disk = collect._runs(Path("runs"))
    assert disk.error == ""
    assert disk.free is not None
    assert disk.free > 0
    assert list(tmp_path.iterdir()) == []


def test_runs_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", refuse)  # root may write anywhere
    assert collect._runs(tmp_path).error == "cannot be written: Permission denied"


def test_cores_and_memory_heed_a_container(tmp_path: Path) -> None:
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (tmp_path / "proc").mkdir()
    assert available_memory(tmp_path) is None
    (tmp_path / "proc/meminfo").write_text("MemTotal: 100 kB\nMemAvailable:    8000 kB\n")
    own = available_cores(tmp_path)
    if sys.platform == "linux":
        assert available_memory(tmp_path) == 8000 * 1024
        (group / "memory.max").write_text("1000000\n")
        (group / "memory.current").write_text("700000\n")
        (group / "memory.stat").write_text("anon 1\ninactive_file 50000\n")
        assert available_memory(tmp_path) == 350_000
        (group / "memory.max").write_text("max\n")
        assert available_memory(tmp_path) == 8000 * 1024
    (group / "cpu.max").write_text("100000 100000\n")
    assert available_cores(tmp_path) == 1
    (group / "cpu.max").write_text("max 100000\n")
    assert available_cores(tmp_path) == own


def test_weights_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_TOKEN", "hf_something")
    (tmp_path / "facebook--dinov2-small").mkdir()
    monkeypatch.setenv("DINOTUNE_WEIGHTS", str(tmp_path))
    weights = collect._weights({"a/b": None})
    assert (weights.local, weights.token, weights.error) == (("facebook/dinov2-small",), True, "")
    monkeypatch.setenv("DINOTUNE_WEIGHTS", str(tmp_path / "nothing"))
    assert "is no folder" in collect._weights({}).error
