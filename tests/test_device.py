"""Devices and precisions are what was asked for, or an error that says what is usable."""

from pathlib import Path

import pytest
import torch

from dinotune.device import autocast, resolve_device, resolve_precision
from dinotune.errors import SettingsError

CPU = torch.device("cpu")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine without any GPU, for tests to add one."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(Path, "exists", lambda _: False)
    return monkeypatch


@pytest.mark.parametrize(
    ("present", "wanted", "found"),
    [
        ((), "auto", "cpu"),
        ((), "cpu", "cpu"),
        (("mps",), "auto", "mps"),
        (("mps",), "cpu", "cpu"),
        (("cuda",), "auto", "cuda"),
        (("cuda", "mps"), "auto", "cuda"),
        (("cuda",), "cuda", "cuda"),
    ],
)
def test_present_devices(machine: pytest.MonkeyPatch, present: tuple[str, ...], wanted: str, found: str) -> None:
    for kind in present:
        machine.setattr(torch.cuda if kind == "cuda" else torch.backends.mps, "is_available", lambda: True)
    assert resolve_device(wanted) == torch.device(found)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("cuda", r"device: cuda is not available here \(.*\); usable: cpu$"),
        ("mps", r"device: mps is not available here \(no Apple GPU.*\); usable: cpu$"),
        ("tpu", r"device: tpu is not available here \(no such kind of device\); usable: cpu$"),
    ],
)
@pytest.mark.usefixtures("machine")
def test_absent_devices_are_refused(wanted: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        resolve_device(wanted)


@pytest.mark.parametrize(("built_for", "reason"), [(None, "built without CUDA"), ("13.0", "built for CUDA 13.0")])
def test_a_driver_that_torch_cannot_use_is_no_reason_for_the_cpu(
    machine: pytest.MonkeyPatch, built_for: str | None, reason: str
) -> None:
    machine.setattr(Path, "exists", lambda path: path == Path("/dev/nvidiactl"))
    machine.setattr(torch.version, "cuda", built_for)
    with pytest.raises(SettingsError, match=f"an NVIDIA driver is present, but .*{reason}.*; or set device=cpu"):
        resolve_device("auto")
    assert resolve_device("cpu") == CPU


@pytest.mark.parametrize(
    ("wanted", "kind", "found"),
    [
        ("fp32", "cpu", "fp32"),
        ("bf16", "cpu", "bf16"),
        ("auto", "cpu", "fp32"),
        ("auto", "mps", "fp32"),
        ("fp16", "mps", "fp16"),
        ("fp16", "cuda", "fp16"),
    ],
)
def test_precisions(wanted: str, kind: str, found: str) -> None:
    assert resolve_precision(wanted, torch.device(kind)) == found


@pytest.mark.parametrize(("supported", "found"), [(True, "bf16"), (False, "fp32")])
def test_auto_takes_bf16_where_the_gpu_has_it(monkeypatch: pytest.MonkeyPatch, supported: bool, found: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: supported)
    assert resolve_precision("auto", torch.device("cuda")) == found


def test_fp16_is_refused_on_the_cpu() -> None:
    with pytest.raises(SettingsError, match='"fp16" needs a GPU; use "fp32" or "bf16"'):
        resolve_precision("fp16", CPU)


def test_autocast_leaves_weights_alone() -> None:
    layer = torch.nn.Linear(4, 4)
    with autocast(CPU, "bf16"):
        assert layer(torch.ones(1, 4)).dtype == torch.bfloat16
    with autocast(CPU, "fp32"):
        assert layer(torch.ones(1, 4)).dtype == torch.float32
    assert layer.weight.dtype == torch.float32
