"""`dinotune doctor` as it is typed, on this machine and on others."""

import json
import stat
from pathlib import Path

import pytest

from dinotune import cli
from dinotune.doctor import collect
from dinotune.doctor.facts import Driver, Facts
from tests.doctor.machines import ALL_WELL, CUDA_13, L4, unseen


@pytest.mark.parametrize(
    ("facts", "status", "expected"),
    [
        (ALL_WELL, 0, "This machine can train."),
        (unseen(None, CUDA_13), 0, "This machine can train."),
        (unseen(Driver("550.54.15", (L4,)), CUDA_13), 1, "update the NVIDIA driver to 580 or newer"),
    ],
)
def test_status(
    facts: Facts, status: int, expected: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(collect, "collect", lambda: facts)
    assert cli.run(["doctor"]) == status
    assert expected in capsys.readouterr().out


def test_this_machine_with_an_old_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA L4, 384.81, 8.9, 23034'\n")
    program.chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr("dinotune.doctor.collect.refusal", lambda *_: "no hub in this test")
    monkeypatch.setattr(collect, "TORCH_PATIENCE", 60)  # the machine of a test may be busy
    status = cli.run(["doctor", "--json"])
    content = json.loads(capsys.readouterr().out)
    facts = content["facts"]
    assert facts["torch"]["loads"], facts["torch"]["error"]
    assert facts["driver"]["version"] == "384.81"
    assert all(facts["versions"].values())
    assert facts["cores"] >= 1
    assert content["can_train"] is (status == 0)
    if not facts["torch"]["available"]:
        assert status == 1
        (gpu,) = (finding for finding in content["findings"] if finding["topic"] == "GPU")
        assert "NVIDIA L4 (driver 384.81)" in gpu["message"]
